package store

import (
	"slices"
	"time"
)

// The past is bounded: beyond maxVersions changes of one twin within the lag,
// those in between are skipped, and beyond maxGhosts deleted twins, the oldest
// are forgotten early.
const (
	maxVersions = 32
	maxGhosts   = 10_000
)

// past is what the twins were like, for queries that see them late.
type past struct {
	lag, ghosts time.Duration
	histories   index[*history]
	graves      []grave // in the order of the deletions
}

// newPast returns nil when queries see what there is now.
func newPast(lag, ghosts time.Duration) *past {
	if lag <= 0 && ghosts <= 0 {
		return nil
	}
	return &past{lag: lag, ghosts: ghosts, histories: newIndex[*history]()}
}

// version is what a twin was like from some moment on; gone says that it was
// deleted then.
type version struct {
	at   time.Time
	seen *Snapshot
	gone bool
}

// history is what is left of a twin's past, oldest first and never empty.
type history []version

// prune drops what no query will see again.
func (h *history) prune(until time.Time) {
	reached := 0
	for reached+1 < len(*h) && !(*h)[reached+1].at.After(until) {
		reached++
	}
	*h = slices.Delete(*h, 0, reached)
}

// add puts the next version behind those that a query may yet see.
func (h *history) add(next version, until time.Time) {
	h.prune(until)
	if len(*h) < maxVersions {
		*h = append(*h, next)
	} else {
		*h.last() = next
	}
}

func (h *history) last() *version { return &(*h)[len(*h)-1] }

// grave is where a history ends.
type grave struct {
	id ID
	at time.Time
}

func (p *past) remember(next version) {
	p.forget(next.at)
	id := next.seen.identity.id
	if h := p.histories.get(id); h == nil {
		p.histories.put(id, &history{next})
	} else {
		h.add(next, next.at.Add(-p.lag))
	}
	if next.gone {
		p.graves = append(p.graves, grave{id, next.at})
	}
}

// forget drops the histories of twins that have been deleted for long enough.
func (p *past) forget(now time.Time) {
	kept := max(p.lag, p.ghosts)
	for len(p.graves) > 0 && (len(p.graves) > maxGhosts || !now.Before(p.graves[0].at.Add(kept))) {
		ended := p.graves[0]
		p.graves = p.graves[1:]
		h := p.histories.get(ended.id)
		if h != nil && h.last().gone && h.last().at.Equal(ended.at) {
			p.histories.remove(ended.id)
		}
	}
}

// visible returns what queries see of a twin at this time, or nil.
func (p *past) visible(h *history, now time.Time) *Snapshot {
	until := now.Add(-p.lag)
	h.prune(until)
	switch first := (*h)[0]; {
	case first.at.After(until):
		return nil // created since
	case first.gone && !now.Before(first.at.Add(p.ghosts)):
		return nil
	default:
		return first.seen
	}
}
