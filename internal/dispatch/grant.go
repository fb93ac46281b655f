package dispatch

import "time"

// Grant is a turn at the hub: a place in flight, and operations that are paid for.
type Grant struct {
	Request
	dispatcher *Dispatcher
	guest      bool // of a share that did not rule the hub
	seq        uint64
	expires    time.Time

	// Guarded by the dispatcher's lock.
	left Need
	over bool
}

// pick hands a grant to its owner.
func (g *Grant) pick() { g.dispatcher.drop(g) }

// Done gives back the place and what was not used. Only the first call counts, and
// that of a nil grant does nothing.
func (g *Grant) Done() {
	if g == nil {
		return
	}
	g.dispatcher.locked(func(time.Time) { g.dispatcher.revoke(g) })
}

// Has tells whether one more operation of a class is paid for.
func (g *Grant) Has(class Class) bool {
	if g == nil {
		return false
	}
	g.dispatcher.mu.Lock()
	defer g.dispatcher.mu.Unlock()
	return g.left[class] > 0
}

// use takes an operation off a grant.
func (g *Grant) use(class Class) bool {
	g.dispatcher.mu.Lock()
	defer g.dispatcher.mu.Unlock()
	if g.over || g.left[class] == 0 {
		return false
	}
	g.left[class]--
	return true
}
