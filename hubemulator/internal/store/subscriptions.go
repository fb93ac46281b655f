package store

import "maps"

// KeepSubscription has a subscription outlive the connection that it was made
// on: the next one finds it in KeptSubscriptions.
func (x *Session) KeepSubscription(filter string, qos byte) {
	x.onEntry(func(d *entry) {
		if d.subscriptions == nil {
			d.subscriptions = map[string]byte{}
		}
		d.subscriptions[filter] = qos
		x.store.changed(d)
	})
}

// DropSubscription undoes KeepSubscription.
func (x *Session) DropSubscription(filter string) {
	x.onEntry(func(d *entry) {
		delete(d.subscriptions, filter)
		x.store.changed(d)
	})
}

// KeptSubscriptions returns what earlier connections left: the QoS of each
// filter.
func (x *Session) KeptSubscriptions() map[string]byte {
	var kept map[string]byte
	x.onEntry(func(d *entry) { kept = maps.Clone(d.subscriptions) })
	return kept
}

// ForgetSubscriptions drops what earlier connections left.
func (x *Session) ForgetSubscriptions() {
	x.onEntry(func(d *entry) {
		d.subscriptions = nil
		x.store.changed(d)
	})
}

// onEntry runs while x is the session of its device or module.
func (x *Session) onEntry(run func(*entry)) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if d, err := x.device(); err == nil && !x.closed {
		run(d)
	}
}
