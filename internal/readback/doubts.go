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

// maxRefuted bounds how many direct reads one query can lead to that find the hub as it is known: an index that lost its
// content, or went back in time, must not have the whole fleet read one by one. Reads that do find a difference are not
// counted, so that a hub that was restored is read as fast as its rates allow.
const maxRefuted = 100

// doubts are the rows that only a direct read can decide about. Their methods have to be called with the lock of the
// fingerprints held; what they return is to be woken without it.
type doubts struct {
	// budget is how many more direct reads may be asked for, and filled when it was whole last.
	budget int
	filled moment
	// waiting are the rows of the twins that are to be read when there is some again.
	waiting map[hub.ID]uint64
}

// doubt has a twin read from the hub itself, now or when others have been.
func (f *fingerprints) doubt(id hub.ID, e *entry, row uint64) []types.NamespacedName {
	switch {
	case e.doubted == row:
		return nil // its object knows
	case e.doubted != 0:
		e.doubted = row
		return nil
	case f.budget <= 0:
		f.waiting[id] = row
		return nil
	}
	f.budget--
	e.doubted = row
	delete(f.waiting, id)
	return []types.NamespacedName{e.name}
}

// trust ends a doubt that the index itself has withdrawn.
func (f *fingerprints) trust(id hub.ID, e *entry) {
	delete(f.waiting, id)
	if e.doubted != 0 {
		e.doubted = 0
		f.budget = min(f.budget+1, maxRefuted)
		e.wanted = e.again
	}
}

// decided ends a doubt: the row was not borne out unless it is the one that the hub told. different tells that the hub
// is not as it was known, so that the doubt was worth it.
func (f *fingerprints) decided(id hub.ID, e *entry, told uint64, different bool, now moment) []types.NamespacedName {
	delete(f.waiting, id)
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
	f.budget = min(f.budget+1, maxRefuted)
	return f.nextDoubts()
}

// fill is for a new full sweep, and for any query after a while.
func (f *fingerprints) fill(now moment) []types.NamespacedName {
	f.budget, f.filled = maxRefuted, now
	return f.nextDoubts()
}

// nextDoubts has those read that waited, as far as the budget goes.
func (f *fingerprints) nextDoubts() (doubts []types.NamespacedName) {
	for id, row := range f.waiting {
		if f.budget <= 0 {
			break
		}
		delete(f.waiting, id)
		if e := f.twins[id]; e != nil {
			doubts = append(doubts, f.doubt(id, e, row)...)
		}
	}
	return doubts
}
