package configuration

import (
	"maps"
	"slices"
	"strings"
)

// Desired is what several contents together want of a twin's desired properties.
type Desired struct {
	Properties map[string]any
	// Whole says that other properties are to go; else Properties are a patch.
	Whole bool
	// By is which content a leaf comes from, by the leaf's names joined with
	// dots: its place among those that were composed.
	By map[string]int
}

// Compose lays contents over each other: where paths of two meet, the one that
// comes first wins. IoT Hub documents that for equal paths, and that a
// configuration may be applied in part. Effective says for each content whether
// any of its paths had an effect. The contents have to be checked before.
func Compose(ranked []map[string]any) (desired Desired, effective []bool) {
	effective = make([]bool, len(ranked))
	for i := range slices.Backward(ranked) {
		for _, path := range slices.Sorted(maps.Keys(ranked[i])) { // what is above a path comes before it
			desired.Properties = set(desired.Properties, namesOf(path), ranked[i][path])
			desired.Whole = desired.Whole || path == root
			effective[i] = effective[i] || !isCovered(path, ranked[:i])
		}
	}
	desired.By = map[string]int{}
	attribute(desired.Properties, "", ranked, desired.By)
	return desired, effective
}

// attribute finds for each leaf below names the first content that sets it. What
// a content sets as a whole replaces all that those after it set inside.
func attribute(properties map[string]any, names string, ranked []map[string]any, by map[string]int) {
	for name, value := range properties {
		path := strings.TrimPrefix(names+"."+name, ".")
		if object, isObject := value.(map[string]any); isObject && len(object) > 0 {
			attribute(object, path, ranked, by)
			continue
		}
		if i := slices.IndexFunc(ranked, func(content map[string]any) bool {
			return isCovered(root+"."+path, []map[string]any{content})
		}); i >= 0 {
			by[path] = i
		}
	}
}

// isCovered reports whether one of the contents sets all that a path leads to.
func isCovered(path string, contents []map[string]any) bool {
	names := namesOf(path)
	for length := range len(names) + 1 {
		above := root
		for _, name := range names[:length] {
			above += "." + name
		}
		if slices.ContainsFunc(contents, func(content map[string]any) bool {
			_, isSet := content[above]
			return isSet
		}) {
			return true
		}
	}
	return false
}

// set returns the object with another value at a path. It changes nothing in
// place, since values belong to contents.
func set(object map[string]any, names []string, value any) map[string]any {
	if len(names) == 0 {
		whole, _ := value.(map[string]any)
		return whole
	}
	changed := maps.Clone(object)
	if changed == nil {
		changed = map[string]any{}
	}
	if len(names) > 1 {
		below, _ := changed[names[0]].(map[string]any)
		value = set(below, names[1:], value)
	}
	changed[names[0]] = value
	return changed
}

// ComposeEdge decides on the modules of an edge device that the ranked
// deployments target. The first one that is not layered is the base; those
// before it are its layers. Without a base nothing is applied. Deployments after
// the base have no part. It returns what is wanted of each module, and for each
// deployment whether it had an effect.
func ComposeEdge(ranked []Content) (modules map[string]Desired, effective []bool) {
	effective = make([]bool, len(ranked))
	base := slices.IndexFunc(ranked, func(c Content) bool { return !c.isLayer() })
	if base < 0 {
		return nil, effective
	}
	modules = map[string]Desired{}
	for _, content := range ranked[:base+1] {
		for name := range content.Modules {
			if _, known := modules[name]; known {
				continue
			}
			layers := make([]map[string]any, 0, base+1)
			for _, other := range ranked[:base+1] {
				layers = append(layers, other.Modules[name])
			}
			desired, has := Compose(layers)
			modules[name] = desired
			for i := range has {
				effective[i] = effective[i] || has[i]
			}
		}
	}
	return modules, effective
}

// isLayer reports whether a deployment only adds to another one.
func (c Content) isLayer() bool {
	_, whole := c.Modules[edgeAgent][root]
	return !whole
}
