package readback

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// compare notes a page of rows; whole tells that it is of a full sweep. It
// returns how late the index showed a write, at most: before is the newest one that
// it had shown when it was asked last.
func (f *fingerprints) compare(page []hub.IndexRow, whole bool, before, now time.Time) (late time.Duration) {
	var doubts []types.NamespacedName
	f.mu.Lock()
	at := f.at(now)
	if at-f.filled >= f.late {
		doubts = f.fill(at)
	}
	for _, s := range page {
		e := f.twins[s.ID]
		if e == nil {
			continue
		}
		if whole {
			e.seen = f.sweeps[sourceOf(s.ID)]
		}
		if e.known.version == 0 {
			continue // its object is about to read it, or has asked for it
		}
		row := f.fingerprint(s)
		switch f.judge(e, row, at) {
		case moved:
			e.wanted = true
			if !s.Written.IsZero() && s.Written.Before(before) {
				late = max(late, before.Sub(s.Written))
			}
		case doubtful:
			doubts = append(doubts, f.doubt(s.ID, e, f.row(row))...)
		case nothing:
			if row == e.known {
				f.trust(s.ID, e)
			}
		}
	}
	f.mu.Unlock()
	f.wakeAll(doubts)
	return late
}

// compareUnreadable notes a row that cannot be used; it tells whether it is of a twin that is managed.
func (f *fingerprints) compareUnreadable(id hub.ID, now time.Time) (managed bool) {
	f.mu.Lock()
	e := f.twins[id]
	if e == nil {
		f.mu.Unlock()
		return false
	}
	e.seen = f.sweeps[sourceOf(id)]
	var doubts []types.NamespacedName
	if refuted := e.refuted == unreadable && f.at(now)-e.refutedAt < f.late; e.wanted || !refuted {
		e.wanted = false
		doubts = f.doubt(id, e, unreadable)
	}
	f.mu.Unlock()
	f.wakeAll(doubts)
	return true
}

// beginSweep starts a full sweep of a source, and lists them. What becomes known
// after that moment is not listed, so it is not missed at the end either.
func (f *fingerprints) beginSweep(from hub.Source, now time.Time) []hub.ID {
	f.mu.Lock()
	f.sweeps[from]++
	doubts := f.fill(f.at(now))
	ids := f.list(from, func(e *entry) bool { return e.known.version != 0 })
	f.mu.Unlock()
	f.wakeAll(doubts)
	return ids
}

// excuse is for a batch of devices that a full sweep could not show.
func (f *fingerprints) excuse(from hub.Source, devices map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, e := range f.twins {
		if sourceOf(id) == from && devices[id.Device] {
			e.seen = f.sweeps[from]
		}
	}
}

// endSweep leaves it to direct reads whether the twins exist that a full sweep has
// not shown.
func (f *fingerprints) endSweep(from hub.Source) {
	var doubts []types.NamespacedName
	f.mu.Lock()
	for id, e := range f.twins {
		if sourceOf(id) == from && e.known.version != 0 && e.seen != f.sweeps[from] {
			doubts = append(doubts, f.doubt(id, e, missing)...)
		}
	}
	f.mu.Unlock()
	f.wakeAll(doubts)
}
