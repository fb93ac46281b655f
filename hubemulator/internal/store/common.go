package store

import (
	"encoding/json"
	"hash/maphash"
)

const (
	// commonSlots is how many values are remembered; 64 KB on a 64-bit machine.
	commonSlots = 4096
	// maxCommon is the length in bytes from which a text is hardly anybody else's.
	maxCommon = 32
)

// common lets twins share equal values: most of a fleet's are the same few, and
// each of its own would be two more objects for the garbage collector to visit.
// It forgets a value for any other one with the same slot. The store's lock guards it.
type common struct {
	seed  maphash.Seed
	slots [commonSlots]any
}

func newCommon() *common { return &common{seed: maphash.MakeSeed()} }

// share returns an equal value, perhaps an earlier one.
func (c *common) share(value any) any {
	var text string
	switch value := value.(type) {
	case string:
		text = value
	case json.Number:
		text = value.String()
	default:
		return value
	}
	if len(text) > maxCommon {
		return value
	}
	slot := &c.slots[maphash.String(c.seed, text)%commonSlots]
	if *slot != value { // of another type or text
		*slot = value
	}
	return *slot
}
