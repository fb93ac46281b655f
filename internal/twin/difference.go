package twin

import (
	"strconv"
	"strings"
)

// Difference is one declared leaf that the hub does not hold.
type Difference struct {
	Path Path
	// Declared is the value of the manifest.
	Declared any
	// Held is the value on the hub; nil when there is none.
	Held any
	// Drift tells that the declared value was on the hub before, as far as the
	// record knows: another writer changed it since.
	Drift bool
}

// String shows both values, shortened; of long ones that begin alike, what stands
// where they differ.
func (d Difference) String() string {
	return shownPair(d.Path, d.Declared, d.Held)
}

// Differences are several of them.
type Differences []Difference

// String lists the first few differences and counts the others.
func (ds Differences) String() string {
	const shown = 4
	texts := make([]string, 0, shown+1)
	for i, d := range ds {
		if i == shown {
			texts = append(texts, "and "+strconv.Itoa(len(ds)-shown)+" more")
			break
		}
		texts = append(texts, d.String())
	}
	return strings.Join(texts, ", ")
}

// Paths are the paths of the differences.
func (ds Differences) Paths() Paths {
	out := make(Paths, 0, len(ds))
	for _, d := range ds {
		out = append(out, d.Path)
	}
	return out
}

// Drifted are those that another writer made.
func (ds Differences) Drifted() Differences {
	var out Differences
	for _, d := range ds {
		if d.Drift {
			out = append(out, d)
		}
	}
	return out
}
