package readback

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// look notes a page of rows; whole tells that it is of a look at all twins. It
// returns how late the index showed a write, at most: before is the newest one that
// it had shown when it was asked last.
func (b *book) look(page []hub.Sighting, whole bool, before, now time.Time) (late time.Duration) {
	var doubts []types.NamespacedName
	b.mu.Lock()
	at := b.at(now)
	if at-b.filled >= b.late {
		doubts = b.fill(at)
	}
	for _, s := range page {
		e := b.twins[s.ID]
		if e == nil {
			continue
		}
		if whole {
			e.seen = b.sweeps[sourceOf(s.ID)]
		}
		if e.known.version == 0 {
			continue // its object is about to read it, or has asked for it
		}
		row := b.fingerprint(s)
		switch b.judge(e, row, at) {
		case moved:
			e.wanted = true
			if !s.Written.IsZero() && s.Written.Before(before) {
				late = max(late, before.Sub(s.Written))
			}
		case doubtful:
			doubts = append(doubts, b.doubt(s.ID, e, b.row(row))...)
		case nothing:
			if row == e.known {
				b.trust(s.ID, e)
			}
		}
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
	return late
}

// lookUnreadable notes a row that cannot be used; it tells whether it is of a twin that is managed.
func (b *book) lookUnreadable(id hub.ID, now time.Time) (managed bool) {
	b.mu.Lock()
	e := b.twins[id]
	if e == nil {
		b.mu.Unlock()
		return false
	}
	e.seen = b.sweeps[sourceOf(id)]
	var doubts []types.NamespacedName
	if refuted := e.refuted == unreadable && b.at(now)-e.refutedAt < b.late; e.wanted || !refuted {
		e.wanted = false
		doubts = b.doubt(id, e, unreadable)
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
	return true
}

// beginSweep starts a look at all twins of a source, and lists them. What becomes known
// after that moment is not listed, so it is not missed at the end either.
func (b *book) beginSweep(from hub.Source, now time.Time) []hub.ID {
	b.mu.Lock()
	b.sweeps[from]++
	doubts := b.fill(b.at(now))
	ids := b.list(from, func(e *entry) bool { return e.known.version != 0 })
	b.mu.Unlock()
	b.wakeAll(doubts)
	return ids
}

// excuse is for a batch of devices that a look at all twins could not show.
func (b *book) excuse(from hub.Source, devices map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.twins {
		if sourceOf(id) == from && devices[id.Device] {
			e.seen = b.sweeps[from]
		}
	}
}

// endSweep leaves it to direct reads whether the twins exist that a whole look has
// not shown.
func (b *book) endSweep(from hub.Source) {
	var doubts []types.NamespacedName
	b.mu.Lock()
	for id, e := range b.twins {
		if sourceOf(id) == from && e.known.version != 0 && e.seen != b.sweeps[from] {
			doubts = append(doubts, b.doubt(id, e, missing)...)
		}
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
}
