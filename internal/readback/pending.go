package readback

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

const (
	// maxPending bounds the documents that wait for their objects, and so the memory
	// they take: at the largest twins some hundreds of MB, at usual ones 10 MB.
	maxPending = 1000
	// pendingPatience is how long there may be no room for another document, before those that were there all the time
	// are dropped: their objects do not come for them.
	pendingPatience = 10 * time.Second
)

// pending count the documents that objects have not taken yet.
type pending struct {
	pendingCount int
	// full is since when there is no room.
	full moment
}

// drop forgets the pending document, if there is one. It has to be called with the lock held.
func (f *fingerprints) drop(e *entry) {
	if e.document == nil {
		return
	}
	e.document, e.old, e.shown = nil, false, false
	if f.pendingCount--; f.pendingCount <= maxPending-hub.PageRows {
		signal(f.room)
	}
}

// give has to be called with the lock held.
func (f *fingerprints) give(e *entry, twin *hub.Twin) {
	if e.document == nil {
		f.pendingCount++
	}
	e.document, e.shown = twin, false
}

// hasRoom tells whether documents may be read. Where there has been no room for a while it is made: an object that does
// not come for a document, because it is reconciled on its own terms, is left to a direct read.
func (f *fingerprints) hasRoom(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.at(now)
	if f.pendingCount < maxPending {
		f.full = 0
		return true
	}
	switch {
	case f.full == 0:
		f.full = max(at, 1)
		return false
	case at-f.full < moment(pendingPatience):
		return false
	}
	f.full = max(at, 1)
	for _, e := range f.twins {
		switch {
		case e.document == nil:
		case e.old:
			// Without a budget: the object was woken, and reads the hub itself if it ever comes.
			e.doubted, e.wanted = f.row(f.fingerprint(rowOf(e.document))), false
			f.drop(e)
		default:
			e.old = true
		}
	}
	return f.pendingCount < maxPending
}

// offer hands a document from the index to the object that manages the twin, if it
// says something new.
func (f *fingerprints) offer(twin *hub.Twin, now time.Time) {
	f.mu.Lock()
	e := f.twins[twin.ID]
	if e == nil || !e.wanted {
		f.mu.Unlock()
		return
	}
	verdict := f.news(e, f.fingerprint(rowOf(twin)), f.at(now))
	e.wanted = e.again && verdict == nothing // the index is late: the next one
	var told []types.NamespacedName
	switch verdict {
	case moved:
		f.give(e, twin)
		told = append(told, e.name)
	case doubtful:
		told = f.doubt(twin.ID, e, f.row(f.fingerprint(rowOf(twin))))
	case nothing:
	}
	f.mu.Unlock()
	f.wakeAll(told)
}

// absent leaves it to direct reads what is with twins that a batch did not show, or not so that it can be used.
func (f *fingerprints) absent(ids []hub.ID, row uint64) {
	var doubts []types.NamespacedName
	f.mu.Lock()
	for _, id := range ids {
		if e := f.twins[id]; e != nil && e.wanted {
			e.wanted = false
			doubts = append(doubts, f.doubt(id, e, row)...)
		}
	}
	f.mu.Unlock()
	f.wakeAll(doubts)
}
