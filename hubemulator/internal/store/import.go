package store

import (
	"errors"
	"fmt"
)

// Import is a device or module to create with a whole twin.
type Import struct {
	ID ID
	// Identity is what PutIdentity takes, apart from scopes.
	Identity []byte
	// Parent is the id of the edge device that a device reaches the hub
	// through; empty for none.
	Parent string
	// Tags, Desired and Reported are JSON objects, or nil for nothing.
	Tags, Desired, Reported []byte
}

// ErrNoParent says that an import has to wait until there is its parent.
var ErrNoParent = errors.New("there is no such device")

// Import creates a device or module as one entry of a bulk call does. Its twin
// has the counters of one that was created so, whatever it starts with.
func (s *Store) Import(i Import) error {
	wanted, err := parseIdentity(i.ID, i.Identity)
	if err != nil {
		return err
	}
	with := creation{bulk: true}
	for _, section := range []struct {
		name string
		text []byte
		into *map[string]any
	}{
		{"tags", i.Tags, &with.content.Tags},
		{"desired", i.Desired, &with.content.Desired},
		{"reported", i.Reported, &with.reported},
	} {
		if *section.into, err = parseSection(section.text); err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
	}
	return s.locked(func() error {
		if err := s.adopt(&wanted, i.Parent); err != nil {
			return fmt.Errorf("parent: %w", err)
		}
		_, err := s.create(wanted, with)
		return err
	})
}

func parseSection(text []byte) (map[string]any, error) {
	if text == nil {
		return nil, nil
	}
	return parseContent(text)
}

// adopt gives a device the scope of its parent.
func (s *Store) adopt(wanted *identity, parentID string) error {
	if parentID == "" {
		return nil
	}
	parent := s.devices[parentID]
	switch {
	case parent == nil:
		return fmt.Errorf("device %q: %w", parentID, ErrNoParent)
	case !parent.identity.iotEdge:
		return fmt.Errorf("device %q should be an edge device", parentID)
	case wanted.iotEdge:
		wanted.scopes.parents = []string{parent.identity.scopes.device}
	default:
		wanted.scopes.device = parent.identity.scopes.device
	}
	return nil
}
