package terminal

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Patience is after how long a command says how far it is. It does so again after twice that time each, and in the end
// every half minute.
const (
	Patience = 2 * time.Second
	longest  = 30 * time.Second
)

// Progress tells how far something is that takes longer than Patience. It says nothing of what is quick.
type Progress struct {
	count atomic.Int64
	stop  chan struct{}
	done  sync.WaitGroup
}

// NewProgress begins to tell; what is such as "reading DeviceTwins". Stop has to be called.
func NewProgress(out io.Writer, c clock.WithTicker, what string) *Progress {
	p := &Progress{stop: make(chan struct{})}
	ticker := c.NewTicker(Patience)
	began, next := c.Now(), Patience
	p.done.Go(func() {
		defer ticker.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-ticker.C():
				taken := c.Since(began)
				if taken < next {
					continue
				}
				next = taken + min(taken, longest)
				fmt.Fprintf(out, "%s: %d so far, for %s\n", what, p.count.Load(), taken.Round(time.Second))
			}
		}
	})
	return p
}

// Add counts what was done.
func (p *Progress) Add(n int) { p.count.Add(int64(n)) }

// Stop ends it. Nothing is written after it returned.
func (p *Progress) Stop() {
	close(p.stop)
	p.done.Wait()
}
