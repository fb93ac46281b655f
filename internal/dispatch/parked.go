package dispatch

import "container/heap"

// parked is somebody who waits for a turn.
type parked struct {
	Request
	seq   uint64 // of the first time it asked: its age
	index int    // in its line
}

// before tells who comes first: the more urgent, then the older.
func (p *parked) before(other *parked) bool {
	if p.Priority != other.Priority {
		return p.Priority > other.Priority
	}
	return p.seq < other.seq
}

// line is those who need the same, as a heap.
type line []*parked

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].before(l[j]) }
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

// Push implements heap.Interface.
func (l *line) Push(x any) {
	p, ok := x.(*parked)
	if !ok {
		return
	}
	p.index = len(*l)
	*l = append(*l, p)
}

// Pop implements heap.Interface.
func (l *line) Pop() any {
	last := len(*l) - 1
	p := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return p
}

// lot is all who wait. Those who need the same stand in one line, so that one who
// cannot go on does not block others who can; there are as many lines as there are
// different needs, which are a handful.
type lot struct {
	lines map[Need]*line
	byKey map[string]*parked
	total Need // all needs together
}

func newLot() lot { return lot{lines: map[Need]*line{}, byKey: map[string]*parked{}} }

func newLots() (lots [kinds]lot) {
	for kind := range lots {
		lots[kind] = newLot()
	}
	return lots
}

// add parks a request. One that is parked already keeps its age, and becomes as urgent
// and as much as both ask for.
func (l *lot) add(request Request, seq uint64) {
	if known, ok := l.byKey[request.Key]; ok {
		l.remove(known)
		request.Priority = max(request.Priority, known.Priority)
		request.Need = request.Need.with(known.Need)
		seq = known.seq
	}
	p := &parked{Request: request, seq: seq}
	l.byKey[p.Key] = p
	own := l.lines[p.Need]
	if own == nil {
		own = &line{}
		l.lines[p.Need] = own
	}
	heap.Push(own, p)
	for class, n := range p.Need {
		l.total[class] += n
	}
}

func (l *lot) remove(p *parked) {
	own := l.lines[p.Need]
	heap.Remove(own, p.index)
	if own.Len() == 0 {
		delete(l.lines, p.Need)
	}
	delete(l.byKey, p.Key)
	for class, n := range p.Need {
		l.total[class] -= n
	}
}

// best is the first of those who can go on.
func (l *lot) best(can func(Need) bool) *parked {
	var best *parked
	for need, own := range l.lines {
		if head := (*own)[0]; can(need) && (best == nil || head.before(best)) {
			best = head
		}
	}
	return best
}
