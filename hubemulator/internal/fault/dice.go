package fault

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
)

// dice decides which requests a rule with a probability applies to.
//
// The n-th request of a device for an operation is always decided about in the
// same way, whatever other devices do meanwhile. A stream of random numbers
// for all of them would depend on the order in which concurrent requests come.
type dice struct {
	seed        int64
	rule        string
	probability float64
	thrown      map[subject]uint64
}

type subject struct{ operation, deviceID string }

func (d *dice) hit(operation, deviceID string) bool {
	if d.probability == 0 || d.probability == 1 {
		return true
	}
	if d.thrown == nil {
		d.thrown = map[subject]uint64{}
	}
	about := subject{operation, deviceID}
	d.thrown[about]++
	return d.number(about, d.thrown[about]) < d.probability
}

// number is spread evenly over 0 to 1.
func (d *dice) number(about subject, throw uint64) float64 {
	text := strings.Join([]string{
		strconv.FormatInt(d.seed, 10), d.rule, about.operation, about.deviceID, strconv.FormatUint(throw, 10),
	}, "\x00")
	hash := sha256.Sum256([]byte(text))
	const bits = 53 // of a float64's fraction
	return float64(binary.BigEndian.Uint64(hash[:])>>(64-bits)) / (1 << bits)
}
