package readback

import (
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// wantedOf lists the twins of a source that are to be read.
func (f *fingerprints) wantedOf(from hub.Source) []hub.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list(from, func(e *entry) bool { return e.wanted && e.doubted == 0 })
}

// count is how many twins of a source are known.
func (f *fingerprints) count(from hub.Source) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for id, e := range f.twins {
		if e.known.version != 0 && sourceOf(id) == from {
			n++
		}
	}
	return n
}

func sourceOf(id hub.ID) hub.Source {
	if id.Module != "" {
		return hub.Modules
	}
	return hub.Devices
}

// list has to be called with the lock held.
func (f *fingerprints) list(from hub.Source, which func(*entry) bool) []hub.ID {
	var ids []hub.ID
	for id, e := range f.twins {
		if sourceOf(id) == from && which(e) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, hub.ID.Compare)
	return ids
}
