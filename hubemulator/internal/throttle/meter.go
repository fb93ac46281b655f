package throttle

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Quota is a day's messages, and how many of them are used.
type Quota struct {
	Limit, Used int64
}

// meter counts the messages of a day, which ends at 00:00 UTC.
type meter struct {
	clock clock.PassiveClock
	size  int // of one message, in bytes
	limit int64

	mu   sync.Mutex
	day  time.Time
	used int64
}

func (m *meter) add(messages int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	m.used += messages
}

func (m *meter) quota() Quota {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	return Quota{Limit: m.limit, Used: m.used}
}

// turn starts from zero on a new day.
func (m *meter) turn() {
	if today := m.clock.Now().UTC().Truncate(24 * time.Hour); !today.Equal(m.day) {
		m.day, m.used = today, 0
	}
}
