package reference

import (
	"maps"
	"slices"
	"strings"
)

// record is what an object knows of what it wrote.
type record struct {
	// ours are the values that may be on the hub because we wrote them.
	ours map[Path][]string
	// yielded are declared values that gave way to another writer's.
	yielded map[Path]string
	// replaces are another writer's values that a write on its way replaces.
	replaces map[Path]string
}

func (r record) clone() record {
	out := record{ours: maps.Clone(r.ours), yielded: maps.Clone(r.yielded), replaces: maps.Clone(r.replaces)}
	if out.ours == nil {
		out.ours = map[Path][]string{}
	}
	if out.yielded == nil {
		out.yielded = map[Path]string{}
	}
	if out.replaces == nil {
		out.replaces = map[Path]string{}
	}
	return out
}

func (r record) empty() bool { return len(r.ours) == 0 && len(r.yielded) == 0 && len(r.replaces) == 0 }

func (r record) holds(at Path, value string) bool { return slices.Contains(r.ours[at], value) }

// knows reports whether a declared value was written before, or gave way.
func (r record) knows(at Path, declared string) bool {
	return r.holds(at, declared) || r.yielded[at] == declared
}

// below reports whether it says anything below a path.
func (r record) below(at Path) bool {
	for path := range r.ours {
		if path.below(at) {
			return true
		}
	}
	for path := range r.yielded {
		if path.below(at) {
			return true
		}
	}
	return false
}

// speaksOf reports whether it says anything of a path or below it.
func (r record) speaksOf(at Path) bool {
	return len(r.ours[at]) > 0 || r.yielded[at] != "" || r.below(at)
}

func (r record) add(at Path, value string) {
	delete(r.yielded, at)
	delete(r.replaces, at)
	if !r.holds(at, value) {
		r.ours[at] = slices.Sorted(slices.Values(append([]string{value}, r.ours[at]...)))
	}
}

func (r record) yield(at Path, declared string) {
	delete(r.replaces, at)
	r.yielded[at] = declared
}

// String is for humans, and equal for equal records.
func (r record) String() string {
	var parts []string
	for _, path := range slices.Sorted(maps.Keys(r.ours)) {
		parts = append(parts, path.String()+"∈["+strings.Join(r.ours[path], "|")+"]")
	}
	for _, path := range slices.Sorted(maps.Keys(r.yielded)) {
		parts = append(parts, path.String()+"~"+r.yielded[path])
	}
	for _, path := range slices.Sorted(maps.Keys(r.replaces)) {
		parts = append(parts, path.String()+"!"+r.replaces[path])
	}
	return "<" + strings.Join(parts, ", ") + ">"
}
