package readback

import (
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// wantedOf lists the twins of a source that are to be read.
func (b *book) wantedOf(from hub.Source) []hub.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list(from, func(e *entry) bool { return e.wanted && e.doubted == 0 })
}

// count is how many twins of a source are known.
func (b *book) count(from hub.Source) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for id, e := range b.twins {
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
func (b *book) list(from hub.Source, which func(*entry) bool) []hub.ID {
	var ids []hub.ID
	for id, e := range b.twins {
		if sourceOf(id) == from && which(e) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, hub.ID.Compare)
	return ids
}
