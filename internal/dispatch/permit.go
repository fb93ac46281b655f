package dispatch

import "time"

// Permit is leave to use the hub: a place in flight, and operations that are paid for.
type Permit struct {
	Request
	dispatcher *Dispatcher
	guest      bool // of a share that did not rule the hub
	seq        uint64
	expires    time.Time

	// Guarded by the dispatcher's lock.
	left Need
	over bool
}

// pick hands a permit to its owner.
func (g *Permit) pick() { g.dispatcher.drop(g) }

// Done gives back the place and what was not used. Only the first call counts, and
// that of a nil permit does nothing.
func (g *Permit) Done() {
	if g == nil {
		return
	}
	g.dispatcher.locked(func(time.Time) { g.dispatcher.revoke(g) })
}

// Has tells whether one more operation of a class is paid for.
func (g *Permit) Has(class Class) bool {
	if g == nil {
		return false
	}
	g.dispatcher.mu.Lock()
	defer g.dispatcher.mu.Unlock()
	return g.left[class] > 0
}

// use takes an operation off a permit.
func (g *Permit) use(class Class) bool {
	g.dispatcher.mu.Lock()
	defer g.dispatcher.mu.Unlock()
	if g.over || g.left[class] == 0 {
		return false
	}
	g.left[class]--
	return true
}
