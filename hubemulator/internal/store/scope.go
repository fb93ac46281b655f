package store

import (
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// scopes tie a device to the edge device that it reaches the hub through.
type scopes struct {
	// device is an edge device's own scope, or the scope of a leaf's parent.
	device  string
	parents []string
}

// fields are what documents of the device show.
func (s scopes) fields() twindoc.Object {
	var fields twindoc.Object
	if s.device != "" {
		fields = fields.With("deviceScope", s.device)
	}
	if len(s.parents) > 0 {
		fields = fields.With("parentScopes", s.parents)
	}
	return fields
}

const (
	scopePrefix = "ms-azure-iot-edge://"
	// The hub allows one parent, though its documents have room for more.
	maxParents = 1
)

func edgeScope(i identity) string {
	return scopePrefix + i.id.Device + "-" + i.generationID()
}

// resolveScopes decides on the scopes of a device that is created (current is
// nil then) or updated. An edge device has a scope of its own, made by the hub,
// and perhaps a parent's; a leaf device has its parent's in both places.
func (s *Store) resolveScopes(wanted identity, current *identity) (scopes, error) {
	if wanted.id.Module != "" {
		return scopes{}, nil
	}
	if len(wanted.scopes.parents) > maxParents {
		return scopes{}, invalidArgument("'parentScopes' should have one scope at most")
	}
	resolved := leafScopes(wanted, current)
	if wanted.iotEdge {
		var err error
		if resolved, err = edgeScopes(wanted, current); err != nil {
			return scopes{}, err
		}
	}
	for _, parent := range resolved.parents {
		unchanged := current != nil && len(current.scopes.parents) > 0 && current.scopes.parents[0] == parent
		if !unchanged && !s.isParent(parent, wanted.id) {
			return scopes{}, invalidArgument("'%s' should be the deviceScope of an edge device of this hub", parent)
		}
	}
	return resolved, nil
}

func edgeScopes(wanted identity, current *identity) (scopes, error) {
	resolved := scopes{device: edgeScope(wanted), parents: wanted.scopes.parents}
	if current == nil {
		return resolved, nil
	}
	resolved.device = edgeScope(*current)
	switch given := wanted.scopes.device; {
	case current.iotEdge && given != resolved.device:
		return scopes{}, invalidArgument("'deviceScope' of an edge device should be its own, which it keeps: %s", resolved.device)
	case !current.iotEdge && given != "" && given == current.scopes.device:
		// IoT Hub was seen to fail like this where it does not expect the scope.
		return scopes{}, unavailable("'deviceScope' of a device that becomes an edge device should be empty, and its parent in 'parentScopes'")
	}
	return resolved, nil
}

// leafScopes go by the deviceScope alone. The parentScopes follow it, whatever
// a client sends as such: the old ones, as tools do that change the deviceScope,
// or nothing else. An edge device loses its parent when it becomes a leaf, and
// can get one with the next write.
func leafScopes(wanted identity, current *identity) scopes {
	parent := wanted.scopes.device
	if parent == "" || current != nil && current.iotEdge {
		return scopes{}
	}
	return scopes{device: parent, parents: []string{parent}}
}

// isParent reports whether a scope is that of an edge device other than id.
func (s *Store) isParent(scope string, id ID) bool {
	name, isScope := strings.CutPrefix(scope, scopePrefix)
	end := strings.LastIndexByte(name, '-')
	if !isScope || end < 0 || name[:end] == id.Device {
		return false
	}
	parent := s.devices[name[:end]]
	return parent != nil && parent.identity.iotEdge && parent.identity.scopes.device == scope
}
