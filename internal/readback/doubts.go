package readback

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// Rows that are none.
const (
	// missing is the row of a twin that the index does not show.
	missing = 1
	// unreadable is the row of a twin that the index shows in a way that cannot be used.
	unreadable = 2
)

// maxRefuted bounds how many direct reads one look can lead to that find the hub as it is known: an index that lost its
// content, or went back in time, must not have the whole fleet read one by one. Reads that do find a difference are not
// counted, so that a hub that was restored is read as fast as its rates allow.
const maxRefuted = 100

// doubts are the rows that only a direct read can decide about. Their methods have to be called with the lock of the
// book held; what they return is to be woken without it.
type doubts struct {
	// budget is how many more direct reads may be asked for, and filled when it was whole last.
	budget int
	filled moment
	// waiting are the rows of the twins that are to be read when there is some again.
	waiting map[hub.ID]uint64
}

// doubt has a twin read from the hub itself, now or when others have been.
func (b *book) doubt(id hub.ID, e *entry, row uint64) []types.NamespacedName {
	switch {
	case e.doubted == row:
		return nil // its object knows
	case e.doubted != 0:
		e.doubted = row
		return nil
	case b.budget <= 0:
		b.waiting[id] = row
		return nil
	}
	b.budget--
	e.doubted = row
	delete(b.waiting, id)
	return []types.NamespacedName{e.name}
}

// trust ends a doubt that the index itself has withdrawn.
func (b *book) trust(id hub.ID, e *entry) {
	delete(b.waiting, id)
	if e.doubted != 0 {
		e.doubted = 0
		b.budget = min(b.budget+1, maxRefuted)
		e.wanted = e.again
	}
}

// decided ends a doubt: the row was not borne out unless it is the one that the hub told. different tells that the hub
// is not as it was known, so that the doubt was worth it.
func (b *book) decided(id hub.ID, e *entry, told uint64, different bool, now moment) []types.NamespacedName {
	delete(b.waiting, id)
	if e.doubted == 0 {
		return nil
	}
	if e.doubted != missing && e.doubted != told {
		e.refuted, e.refutedAt = e.doubted, now
	}
	e.doubted = 0
	if !different {
		return nil
	}
	b.budget = min(b.budget+1, maxRefuted)
	return b.nextDoubts()
}

// fill is for a new look at all twins, and for any look after a while.
func (b *book) fill(now moment) []types.NamespacedName {
	b.budget, b.filled = maxRefuted, now
	return b.nextDoubts()
}

// nextDoubts has those read that waited, as far as the budget goes.
func (b *book) nextDoubts() (doubts []types.NamespacedName) {
	for id, row := range b.waiting {
		if b.budget <= 0 {
			break
		}
		delete(b.waiting, id)
		if e := b.twins[id]; e != nil {
			doubts = append(doubts, b.doubt(id, e, row)...)
		}
	}
	return doubts
}
