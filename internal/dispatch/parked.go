package dispatch

import (
	"cmp"
	"container/heap"
	"slices"
)

// parked is a request that waits for a permit.
type parked struct {
	Request
	seq   uint64 // of the first time it asked: its age
	index int    // in its heap
}

// before tells who comes first: the more urgent, then the older.
func (p *parked) before(other *parked) bool {
	if p.Priority != other.Priority {
		return p.Priority > other.Priority
	}
	return p.seq < other.seq
}

// waitHeap is those who need the same, as a heap.
type waitHeap []*parked

func (l waitHeap) Len() int           { return len(l) }
func (l waitHeap) Less(i, j int) bool { return l[i].before(l[j]) }
func (l waitHeap) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

// Push implements heap.Interface.
func (l *waitHeap) Push(x any) {
	p, ok := x.(*parked)
	if !ok {
		return
	}
	p.index = len(*l)
	*l = append(*l, p)
}

// Pop implements heap.Interface.
func (l *waitHeap) Pop() any {
	last := len(*l) - 1
	p := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return p
}

// heapKey is what those in one heap have in common: all of them can go on, or none.
type heapKey struct {
	need      Need
	share     *Share
	namespace string
}

func (p *parked) heapKey() heapKey {
	return heapKey{need: p.Need, share: p.Share, namespace: p.Namespace}
}

// waitQueue is all who wait. Those who need the same are in one heap, so that one who
// cannot go on does not block others who can; for each namespace there are as many heaps
// as there are different needs, which are a handful.
type waitQueue struct {
	heaps map[heapKey]*waitHeap
	byKey map[string]*parked
	total Need // all needs together
	// rounds are the namespaces that wait, and alternate.
	rounds map[string]*round
	now    uint64
}

// round is the place of a namespace among those that wait.
type round struct {
	since  uint64 // it came, or was served last
	parked int
}

func newWaitQueue() waitQueue {
	return waitQueue{heaps: map[heapKey]*waitHeap{}, byKey: map[string]*parked{}, rounds: map[string]*round{}}
}

func newWaitQueues() (lots [kinds]waitQueue) {
	for kind := range lots {
		lots[kind] = newWaitQueue()
	}
	return lots
}

// add parks a request. One that is parked already keeps its age, and becomes as urgent
// and as much as both ask for.
func (l *waitQueue) add(request Request, seq uint64) {
	known := l.byKey[request.Key]
	if known != nil {
		request.Priority = max(request.Priority, known.Priority)
		request.Need = request.Need.with(known.Need)
		seq = known.seq
	}
	p := &parked{Request: request, seq: seq}
	l.place(p)
	if known != nil {
		l.remove(known)
	}
	l.byKey[p.Key] = p
}

// place puts a request in its heap.
func (l *waitQueue) place(p *parked) {
	own := l.heaps[p.heapKey()]
	if own == nil {
		own = &waitHeap{}
		l.heaps[p.heapKey()] = own
	}
	heap.Push(own, p)
	r := l.rounds[p.Namespace]
	if r == nil {
		l.now++
		r = &round{since: l.now}
		l.rounds[p.Namespace] = r
	}
	r.parked++
	for class, n := range p.Need {
		l.total[class] += n
	}
}

func (l *waitQueue) remove(p *parked) {
	own := l.heaps[p.heapKey()]
	heap.Remove(own, p.index)
	if own.Len() == 0 {
		delete(l.heaps, p.heapKey())
	}
	if r := l.rounds[p.Namespace]; r.parked > 1 {
		r.parked--
	} else {
		delete(l.rounds, p.Namespace)
	}
	if l.byKey[p.Key] == p {
		delete(l.byKey, p.Key)
	}
	for class, n := range p.Need {
		l.total[class] -= n
	}
}

// leave takes off all that wait through a share, the oldest first.
func (l *waitQueue) leave(s *Share) []*parked {
	var gone []*parked
	for common, own := range l.heaps {
		if common.share == s {
			gone = append(gone, *own...)
		}
	}
	for _, p := range gone {
		l.remove(p)
	}
	slices.SortFunc(gone, func(a, b *parked) int { return cmp.Compare(a.seq, b.seq) })
	return gone
}

// best is the first of those who can go on: of the namespace that is next the most
// urgent, so that no namespace waits for all that another one has to do.
func (l *waitQueue) best(can func(heapKey) bool) *parked {
	var best *parked
	for common, own := range l.heaps {
		if head := (*own)[0]; can(common) && (best == nil || l.first(head, best)) {
			best = head
		}
	}
	return best
}

func (l *waitQueue) first(p, other *parked) bool {
	if p.Namespace == other.Namespace {
		return p.before(other)
	}
	return l.rounds[p.Namespace].since < l.rounds[other.Namespace].since
}

// served takes one off that goes on: its namespace comes behind all others that wait.
func (l *waitQueue) served(p *parked) {
	l.now++
	l.rounds[p.Namespace].since = l.now
	l.remove(p)
}

// of is how many wait through a share, and what they need together.
func (l *waitQueue) of(s *Share) (parked int, total Need) {
	for common, own := range l.heaps {
		if common.share == s {
			parked += own.Len()
			for class, n := range common.need {
				total[class] += n * own.Len()
			}
		}
	}
	return parked, total
}
