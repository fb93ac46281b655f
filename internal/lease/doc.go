// Package lease tells whether this process may still act as the leader: a process that
// was paused does not know that its Lease has run out, and must find out before it
// writes to a hub. It never renews or releases a Lease itself.
package lease
