package store

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// twin is the twin of a device or a module, apart from what it mirrors of the identity.
type twin struct {
	writes   uint64 // back-end writes, the creation included; the etag in the open
	tags     *twindoc.Tree
	desired  twindoc.Section
	reported twindoc.Section
	before   *twin // what the last write found; nil when there was none
	// configurations are the status of each configuration that targets the
	// twin. The map is never changed in place.
	configurations map[string]string
}

func (t twin) etag() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, t.writes))
}

// Twin returns the twin as it is now.
func (s *Store) Twin(id ID) (*Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return d.Snapshot, nil
}

// PatchTwin merges tags and desired properties of a partial twin into the
// twin of a device or module and returns the whole new twin. ifMatch is the If-Match
// header's value, empty if there was none.
func (s *Store) PatchTwin(id ID, ifMatch string, body []byte) (*Snapshot, error) {
	wanted, err := s.choices.parseChange(body)
	if err != nil {
		return nil, err
	}
	return s.write(id, ifMatch, wanted, patchTwin)
}

// CheckTwinPatch applies the rules on content to a partial twin that is to be
// merged later, and wants it to have tags or desired properties.
func (s *Store) CheckTwinPatch(body []byte) error {
	wanted, err := s.choices.parseChange(body)
	if err != nil {
		return err
	}
	if wanted.IsEmpty() {
		return invalidArgument("The partial twin should have 'tags' or 'properties.desired'")
	}
	return checkChange(wanted)
}

// ReplaceTwin makes tags and desired properties exactly what body says: a
// section that it leaves out is emptied. It returns the whole new twin.
func (s *Store) ReplaceTwin(id ID, ifMatch string, body []byte) (*Snapshot, error) {
	wanted, err := s.choices.parseChange(body)
	if err != nil {
		return nil, err
	}
	if wanted.Desired == nil {
		wanted.Desired, wanted.ClearDesired = map[string]any{}, false
	}
	return s.write(id, ifMatch, wanted, replaceTwin)
}

// ChangeDesired merges into the desired properties of a device or module what
// desired makes of its twin, as the service API shows it; nil is nothing. There
// is no other write meanwhile. It returns the whole new twin.
func (s *Store) ChangeDesired(
	id ID, ifMatch string, desired func(twin map[string]any) (map[string]any, error),
) (*Snapshot, error) {
	return s.writeFrom(id, ifMatch, patchTwin, func(found *entry) (twindoc.Change, error) {
		merged, err := desired(found.Document())
		return twindoc.Change{Desired: merged}, err
	})
}

func (s *Store) write(id ID, ifMatch string, wanted twindoc.Change, apply func(twin, twindoc.Change, twindoc.Write) twin) (*Snapshot, error) {
	return s.writeFrom(id, ifMatch, apply, func(*entry) (twindoc.Change, error) { return wanted, nil })
}

func (s *Store) writeFrom(
	id ID, ifMatch string, apply func(twin, twindoc.Change, twindoc.Write) twin, wanted func(*entry) (twindoc.Change, error),
) (*Snapshot, error) {
	var written *Snapshot
	err := s.locked(func() error {
		found, err := s.find(id)
		if err != nil {
			return err
		}
		if err := s.choices.checkTwinEtag(ifMatch, found.twin, id.Device); err != nil {
			return err
		}
		content, err := wanted(found)
		if err != nil {
			return err
		}
		if err := s.writeTwin(found, content, apply); err != nil {
			return err
		}
		written = found.Snapshot
		return nil
	})
	return written, err
}

func (s *Store) writeTwin(d *entry, wanted twindoc.Change, apply func(twin, twindoc.Change, twindoc.Write) twin) error {
	wanted = wanted.Against(d.twin.desired)
	next, err := s.nextTwin(d.twin, wanted, apply)
	if err != nil {
		return err
	}
	s.setTwin(d, next, wanted)
	return nil
}

// nextTwin is what a write makes of a twin.
func (s *Store) nextTwin(current twin, wanted twindoc.Change, apply func(twin, twindoc.Change, twindoc.Write) twin) (twin, error) {
	if err := checkChange(wanted); err != nil {
		return twin{}, err
	}
	if err := s.choices.checkVersion(wanted, current.desired); err != nil {
		return twin{}, err
	}
	next := apply(current, wanted, s.writing(s.clock.Now(), current.desired.Version()+1))
	if s.choices.BareReplacements {
		next.desired = next.desired.BaredSince(current.desired)
	}
	return next, s.choices.checkTwinSizes(next)
}

// setTwin makes a write happen that nextTwin worked out since the lock is held.
func (s *Store) setTwin(d *entry, next twin, wanted twindoc.Change) {
	current := d.twin
	d.edit().twin = next.after(current)
	s.changed(d)
	if d.session != nil && next.desired.Version() != current.desired.Version() {
		d.session.notifyDesired(next.desired.Version(), wanted.Desired)
	}
}

func patchTwin(t twin, wanted twindoc.Change, w twindoc.Write) twin {
	if wanted.IsEmpty() {
		return t
	}
	t.writes++
	switch {
	case wanted.ClearTags:
		t.tags = nil
	case wanted.Tags != nil:
		t.tags = t.tags.Merged(wanted.Tags, w)
	}
	if wanted.Desired != nil {
		t.desired = t.desired.Merged(wanted.Desired, w, t.desired.Version()+1)
	}
	return t
}

func replaceTwin(t twin, wanted twindoc.Change, w twindoc.Write) twin {
	t.writes++
	t.tags = (*twindoc.Tree)(nil).Merged(wanted.Tags, w)
	t.desired = t.desired.Replaced(wanted.Desired, w, t.desired.Version()+1)
	return t
}
