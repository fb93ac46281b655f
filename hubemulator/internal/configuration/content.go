package configuration

import (
	"maps"
	"slices"
	"strings"
)

// Content is what a configuration wants of twins: of the devices', of modules'
// by a condition on modules, or of all the modules of an edge device. The keys
// of the maps are paths such as "properties.desired.a.b". Exactly one of the
// members is set.
type Content struct {
	Device  map[string]any            `json:"deviceContent,omitzero"`
	Module  map[string]any            `json:"moduleContent,omitzero"`
	Modules map[string]map[string]any `json:"modulesContent,omitzero"`
}

// Kind is what a configuration applies to.
type Kind int

// The kinds of configurations.
const (
	Devices Kind = iota
	Modules
	Edge
)

// Kind tells which member is set.
func (c Content) Kind() Kind {
	switch {
	case c.Modules != nil:
		return Edge
	case c.Module != nil:
		return Modules
	}
	return Devices
}

// OfOne is the content that each single twin gets, be it a device's or a
// module's. Deployments have none.
func (c Content) OfOne() map[string]any {
	if c.Module != nil {
		return c.Module
	}
	return c.Device
}

// root is the path of all desired properties.
const root = "properties.desired"

// edgeAgent is the module whose content says which modules an edge device runs.
const edgeAgent = "$edgeAgent"

// edgeHub is the other module that an edge device always has.
const edgeHub = "$edgeHub"

func (c Content) check() error {
	set := 0
	for _, isSet := range []bool{c.Device != nil, c.Module != nil, c.Modules != nil} {
		if isSet {
			set++
		}
	}
	if set != 1 {
		return invalid(InContent, "'content' should have exactly one of deviceContent, moduleContent and modulesContent, also in an update")
	}
	if c.Modules != nil {
		return CheckModules(c.Modules)
	}
	if c.Module != nil {
		return checkPaths("moduleContent", c.Module)
	}
	return CheckDevice(c.Device)
}

// CheckDevice refuses what cannot be a deviceContent, with an *InvalidError.
func CheckDevice(content map[string]any) error { return checkPaths("deviceContent", content) }

// CheckModules refuses what cannot be a modulesContent, with an *InvalidError.
func CheckModules(content map[string]map[string]any) error {
	if content[edgeAgent] == nil {
		return invalid(InContent, "'modulesContent' should have '%s', and its value should be an object", edgeAgent)
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if strings.HasPrefix(name, "$") && name != edgeAgent && name != edgeHub {
			return invalid(InContent, "'modulesContent' names '%s', which is no system module", name)
		}
		if err := checkPaths("modulesContent."+name, content[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkPaths(where string, content map[string]any) error {
	for _, path := range slices.Sorted(maps.Keys(content)) {
		below, isBelow := strings.CutPrefix(path, root+".")
		switch {
		case path == root:
			if _, isObject := content[path].(map[string]any); !isObject {
				return invalid(InContent, "'%s' in '%s' should be a JSON object", path, where)
			}
		case !isBelow:
			return invalid(InContent, "'%s' in '%s' should be '%s' or begin with '%s.'", path, where, root, root)
		case slices.Contains(strings.Split(below, "."), ""):
			return invalid(InContent, "'%s' in '%s' has an empty name between its dots", path, where)
		}
	}
	return nil
}

// namesOf are the names that a path leads through below properties.desired.
func namesOf(path string) []string {
	if path == root {
		return nil
	}
	return strings.Split(strings.TrimPrefix(path, root+"."), ".")
}
