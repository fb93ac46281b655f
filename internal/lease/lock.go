package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
)

// ErrNotHeld says that the Lease may be held by another process by now.
var ErrNotHeld = errors.New("the Lease of this manager may have run out: another one may be the leader by now")

// Lock is the lock of a leader election that notes when the Lease was renewed. It is safe
// for concurrent use.
type Lock struct {
	resourcelock.Interface

	clock    clock.PassiveClock
	duration time.Duration

	mu sync.Mutex
	// renewed is when the last renewal was begun that succeeded; zero while the Lease is
	// not held.
	renewed time.Time
}

// New returns a lock whose Lease lasts so long from each renewal on. The clock is the
// real one when nil: its monotonic reading goes on while the process is stopped.
func New(lock resourcelock.Interface, duration time.Duration, c clock.PassiveClock) *Lock {
	if c == nil {
		c = clock.RealClock{}
	}
	return &Lock{Interface: lock, clock: c, duration: duration}
}

// Create implements resourcelock.Interface.
func (l *Lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.renew(record, func() error { return l.Interface.Create(ctx, record) })
}

// Update implements resourcelock.Interface.
func (l *Lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.renew(record, func() error { return l.Interface.Update(ctx, record) })
}

// renew notes the moment before the request: another process counts the Lease's time
// from when it sees the renewal, which cannot be earlier.
func (l *Lock) renew(record resourcelock.LeaderElectionRecord, write func() error) error {
	begun := l.clock.Now()
	ours := record.HolderIdentity == l.Identity()
	if !ours {
		l.set(time.Time{}) // it is released, whether the answer comes or not
	}
	if err := write(); err != nil {
		return err
	}
	if ours {
		l.set(begun)
	}
	return nil
}

func (l *Lock) set(renewed time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = renewed
}

// Check returns ErrNotHeld unless the Lease is certain to be held at this moment. A nil
// lock is one of a manager that needs no Lease.
func (l *Lock) Check() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewed.IsZero() || l.clock.Since(l.renewed) >= l.duration {
		return ErrNotHeld
	}
	return nil
}
