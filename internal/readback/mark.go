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
	// newest write that the index has shown, and how long the look took that showed
	// it: whatever was written meanwhile may have been left out of its first pages.
	newest time.Time
	took   time.Duration
	// late is how late the index was seen to show a write. It fades.
	late time.Duration
	// silent counts the deltas in a row that showed nothing at all.
	silent int
	// pages of the last delta.
	pages int
}

// since is where the next delta begins.
func (m *mark) since() time.Time { return m.newest.Add(-m.took - m.overlap()) }

func (m *mark) overlap() time.Duration { return min(max(minOverlap, 2*m.late), maxOverlap) }

// usable tells whether a delta can be asked for.
func (m *mark) usable() bool { return !m.newest.IsZero() && m.silent < maxSilent }

// delta notes a delta that was answered to its last page.
func (m *mark) delta(newest time.Time, took, late time.Duration, pages int) {
	m.pages = pages
	m.late = max(late, m.late*9/10)
	if pages == 0 {
		// Even the newest write known is gone: a deleted device, or a hub that
		// cannot tell.
		m.silent++
		return
	}
	m.silent = 0
	if newest.After(m.newest) {
		m.newest = newest
	}
	m.took = took
}

// swept notes a look at all twins. It starts the deltas anew where they cannot go
// on by themselves.
func (m *mark) swept(newest time.Time, took time.Duration) {
	m.pages = 0 // whatever the next delta costs, it is not known yet
	if m.usable() {
		return
	}
	m.newest, m.took, m.silent = newest, took, 0
}
