package readback

import "time"

const (
	// minOverlap is how far behind the newest write known a delta begins at least:
	// IoT Hub's index was seen to be late by one to six seconds.
	minOverlap = 30 * time.Second
	// maxOverlap bounds it, so that a single very late row does not make every delta
	// show hours of writes again. What comes later still is found by the sweep.
	maxOverlap = 10 * time.Minute
	// maxSilent is after how many deltas without even the newest write we stop to
	// believe that the hub can tell what was written since.
	maxSilent = 3
)

// watermark is how far a hub's writes have been followed, by the hub's own clock: its
// and ours may differ by any amount.
type watermark struct {
	// newest write that the index has shown, and when, by our clock, the query ended
	// that showed it first.
	newest time.Time
	seenAt time.Time
	// asked is when, by our clock, the last query began. Whatever was written after
	// that may be missing from it.
	asked time.Time
	// late is how late the index was seen to show a write. It fades.
	late time.Duration
	// silent counts the deltas in a row that showed nothing at all.
	silent int
	// pages of the last delta.
	pages int
	// strikes counts the deltas in a row that were given up because a full sweep of the managed
	// twins is cheaper, rest how many are left out for that.
	strikes, rest int
}

// since is where the next delta begins: at the hub's time when the last query began,
// or earlier, since the hub's clock stood at the newest write at least when that was
// seen; and so much before as the index may be late. It is never behind the newest
// write, which every delta has to show.
func (w *watermark) since() time.Time {
	lead := w.asked.Sub(w.seenAt) - w.overlap()
	return w.newest.Add(min(lead, 0))
}

func (w *watermark) overlap() time.Duration { return min(max(minOverlap, 2*w.late), maxOverlap) }

// usable tells whether a delta can be asked for.
func (w *watermark) usable() bool { return !w.newest.IsZero() && w.silent < maxSilent }

// delta notes a delta that was answered to its last page.
func (w *watermark) delta(newest, asked, ended time.Time, late time.Duration, pages int) {
	w.pages = pages
	w.late = max(late, w.late*9/10)
	if pages == 0 {
		// Even the newest write known is gone: a deleted device, or a hub that
		// cannot tell.
		w.silent++
		return
	}
	w.silent, w.strikes = 0, 0
	w.show(newest, ended)
	w.asked = asked
}

func (w *watermark) show(newest, ended time.Time) {
	if newest.After(w.newest) {
		w.newest, w.seenAt = newest, ended
	}
}

// maxRest bounds how many deltas are left out in a row: whether they have become cheap can only be tried.
const maxRest = 32

// gaveUp notes a delta that was ended before its last page: devices that are not managed write too much. What it
// showed still tells of the hub's clock.
func (w *watermark) gaveUp(newest, ended time.Time) {
	w.show(newest, ended)
	w.strikes++
	w.rest = min(1<<min(w.strikes, 10), maxRest)
}

// resting tells whether the next delta is left out, and counts it.
func (w *watermark) resting() bool {
	if w.rest == 0 {
		return false
	}
	w.rest--
	return true
}

// swept notes a full sweep. It starts the deltas anew where they cannot go
// on by themselves.
func (w *watermark) swept(newest, asked, ended time.Time) {
	w.pages = 0 // whatever the next delta costs, it is not known yet
	switch {
	case !w.usable():
		w.newest, w.asked, w.seenAt, w.silent = newest, asked, ended, 0
	case w.strikes > 0:
		w.show(newest, ended)
		w.asked = asked // all that was written before has been shown
	}
}
