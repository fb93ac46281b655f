package setsync

import (
	"hash/maphash"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

const (
	// indexLag is how late the hub's index is at most: IoT Hub's was seen to follow within
	// seconds, and documents minutes.
	indexLag = 5 * time.Minute
	// maxRecent bounds the devices that are remembered as written lately, in each of two generations: a dozen
	// megabytes. One that is forgotten is read once more, and not written twice.
	maxRecent = 250_000
)

// recent remembers which rows of the index were dealt with lately: a hash of each id and etag in
// two generations, of which the older is dropped as a whole. A row that is shown again
// with its etag is late; one with another etag is news.
type recent struct {
	clock    clock.PassiveClock
	seed     maphash.Seed
	now, old map[uint64]struct{}
	since    time.Time
}

func newRecent(c clock.PassiveClock) *recent {
	return &recent{clock: c, seed: maphash.MakeSeed(), now: map[uint64]struct{}{}, since: c.Now()}
}

func (r *recent) add(row *hub.Twin) {
	r.turn()
	r.now[r.hash(row)] = struct{}{}
}

func (r *recent) has(row *hub.Twin) bool {
	r.turn()
	hash := r.hash(row)
	_, now := r.now[hash]
	_, old := r.old[hash]
	return now || old
}

func (r *recent) hash(row *hub.Twin) uint64 {
	return maphash.String(r.seed, row.ETag+" "+row.ID.Device)
}

func (r *recent) clear() {
	r.now, r.old, r.since = map[uint64]struct{}{}, nil, r.clock.Now()
}

// turn begins another generation when the present one is old, or full.
func (r *recent) turn() {
	if age := r.clock.Since(r.since); age < indexLag && len(r.now) < maxRecent {
		return
	}
	r.now, r.old, r.since = map[uint64]struct{}{}, r.now, r.clock.Now()
}
