package twindoc

import (
	"encoding/json"
	"hash/maphash"
)

const (
	// commonSlots is how many values are remembered; 64 KB on a 64-bit machine.
	commonSlots = 4096
	// maxCommon is the length in bytes above which two twins hardly share a text.
	maxCommon = 32
)

// Common lets twins share equal values: most of a fleet's are the same few, and
// each of its own would be two more objects for the garbage collector to visit.
// It forgets a value for any other one with the same slot. Its owner keeps
// other goroutines from it.
type Common struct {
	seed  maphash.Seed
	slots [commonSlots]any
	last  *stamp
}

// NewCommon returns a Common that holds nothing yet.
func NewCommon() *Common { return &Common{seed: maphash.MakeSeed()} }

// shareStamp returns an equal stamp, the last one if possible: devices that are created
// in bulk have one without a time.
func (c *Common) shareStamp(wanted stamp) *stamp {
	if c.last == nil || *c.last != wanted {
		c.last = &wanted
	}
	return c.last
}

// share returns an equal value, perhaps an earlier one.
func (c *Common) share(value any) any {
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
