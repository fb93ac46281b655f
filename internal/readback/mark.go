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

// mark is how far a hub's writes have been followed, by the hub's own clock: its
// and ours may differ by any amount.
type mark struct {
	// newest write that the index has shown, and when, by our clock, the look ended
	// that showed it first.
	newest time.Time
	seenAt time.Time
	// asked is when, by our clock, the last look began. Whatever was written after
	// that may be missing from it.
	asked time.Time
	// late is how late the index was seen to show a write. It fades.
	late time.Duration
	// silent counts the deltas in a row that showed nothing at all.
	silent int
	// pages of the last delta.
	pages int
	// strikes counts the deltas in a row that were given up because a look at all managed
	// twins is cheaper, rest how many are left out for that.
	strikes, rest int
}

// since is where the next delta begins: at the hub's time when the last look began,
// or earlier, since the hub's clock stood at the newest write at least when that was
// seen; and so much before as the index may be late. It is never behind the newest
// write, which every delta has to show.
func (m *mark) since() time.Time {
	lead := m.asked.Sub(m.seenAt) - m.overlap()
	return m.newest.Add(min(lead, 0))
}

func (m *mark) overlap() time.Duration { return min(max(minOverlap, 2*m.late), maxOverlap) }

// usable tells whether a delta can be asked for.
func (m *mark) usable() bool { return !m.newest.IsZero() && m.silent < maxSilent }

// delta notes a delta that was answered to its last page.
func (m *mark) delta(newest, asked, ended time.Time, late time.Duration, pages int) {
	m.pages = pages
	m.late = max(late, m.late*9/10)
	if pages == 0 {
		// Even the newest write known is gone: a deleted device, or a hub that
		// cannot tell.
		m.silent++
		return
	}
	m.silent, m.strikes = 0, 0
	m.show(newest, ended)
	m.asked = asked
}

func (m *mark) show(newest, ended time.Time) {
	if newest.After(m.newest) {
		m.newest, m.seenAt = newest, ended
	}
}

// maxRest bounds how many deltas are left out in a row: whether they have become cheap can only be tried.
const maxRest = 32

// gaveUp notes a delta that was ended before its last page: devices that are not managed write too much. What it
// showed still tells of the hub's clock.
func (m *mark) gaveUp(newest, ended time.Time) {
	m.show(newest, ended)
	m.strikes++
	m.rest = min(1<<min(m.strikes, 10), maxRest)
}

// resting tells whether the next delta is left out, and counts it.
func (m *mark) resting() bool {
	if m.rest == 0 {
		return false
	}
	m.rest--
	return true
}

// swept notes a look at all twins. It starts the deltas anew where they cannot go
// on by themselves.
func (m *mark) swept(newest, asked, ended time.Time) {
	m.pages = 0 // whatever the next delta costs, it is not known yet
	switch {
	case !m.usable():
		m.newest, m.asked, m.seenAt, m.silent = newest, asked, ended, 0
	case m.strikes > 0:
		m.show(newest, ended)
		m.asked = asked // all that was written before has been looked at
	}
}
