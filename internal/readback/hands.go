package readback

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

const (
	// maxInHand bounds the documents that wait for their objects, and so the memory
	// they take: at the largest twins some hundreds of MB, at usual ones 10 MB.
	maxInHand = 1000
	// handPatience is how long there may be no room for another document, before those that were there all the time
	// are dropped: their objects do not come for them.
	handPatience = 10 * time.Second
)

// hands count the documents that objects have not taken yet.
type hands struct {
	inHand int
	// full is since when there is no room.
	full moment
}

// drop forgets the document in hand, if there is one. It has to be called with the lock held.
func (b *book) drop(e *entry) {
	if e.hand == nil {
		return
	}
	e.hand, e.old, e.shown = nil, false, false
	if b.inHand--; b.inHand <= maxInHand-hub.PageRows {
		signal(b.room)
	}
}

// give has to be called with the lock held.
func (b *book) give(e *entry, twin *hub.Twin) {
	if e.hand == nil {
		b.inHand++
	}
	e.hand, e.shown = twin, false
}

// hasRoom tells whether documents may be read. Where there has been no room for a while it is made: an object that does
// not come for a document, because it is visited on its own terms, is left to a direct read.
func (b *book) hasRoom(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.at(now)
	if b.inHand < maxInHand {
		b.full = 0
		return true
	}
	switch {
	case b.full == 0:
		b.full = max(at, 1)
		return false
	case at-b.full < moment(handPatience):
		return false
	}
	b.full = max(at, 1)
	for _, e := range b.twins {
		switch {
		case e.hand == nil:
		case e.old:
			// Without a budget: the object was woken, and reads the hub itself if it ever comes.
			e.doubted, e.wanted = b.row(b.fingerprint(sightingOf(e.hand))), false
			b.drop(e)
		default:
			e.old = true
		}
	}
	return b.inHand < maxInHand
}

// offer hands a document from the index to the object that manages the twin, if it
// says something new.
func (b *book) offer(twin *hub.Twin, now time.Time) {
	b.mu.Lock()
	e := b.twins[twin.ID]
	if e == nil || !e.wanted {
		b.mu.Unlock()
		return
	}
	verdict := b.news(e, b.fingerprint(sightingOf(twin)), b.at(now))
	e.wanted = e.again && verdict == nothing // the index is late: the next one
	var told []types.NamespacedName
	switch verdict {
	case moved:
		b.give(e, twin)
		told = append(told, e.name)
	case doubtful:
		told = b.doubt(twin.ID, e, b.row(b.fingerprint(sightingOf(twin))))
	case nothing:
	}
	b.mu.Unlock()
	b.wakeAll(told)
}

// absent leaves it to direct reads what is with twins that a batch did not show, or not so that it can be used.
func (b *book) absent(ids []hub.ID, row uint64) {
	var doubts []types.NamespacedName
	b.mu.Lock()
	for _, id := range ids {
		if e := b.twins[id]; e != nil && e.wanted {
			e.wanted = false
			doubts = append(doubts, b.doubt(id, e, row)...)
		}
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
}
