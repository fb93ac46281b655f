package twinrequest

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Bound is how long a request is tried to be answered.
const Bound = time.Minute

// Starts remember since when requests are tried to be answered. It is safe for concurrent
// use.
type Starts struct {
	clock clock.PassiveClock

	mu sync.Mutex
	at map[types.NamespacedName]start
}

type start struct {
	uid types.UID
	at  time.Time
}

// NewStarts returns a memory of no request.
func NewStarts(c clock.PassiveClock) *Starts {
	return &Starts{clock: c, at: map[types.NamespacedName]start{}}
}

// Left is how much of Bound is left for a request; nothing, or less, when it is over. It
// counts from the first call.
func (s *Starts) Left(name types.NamespacedName, uid types.UID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	began, known := s.at[name]
	if !known || began.uid != uid {
		began = start{uid, s.clock.Now()}
		s.at[name] = began
	}
	return Bound - s.clock.Since(began.at)
}

// Forget drops a request that is answered, or gone.
func (s *Starts) Forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, name)
}
