package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// probes remember which sessions were proved, and when.
type probes struct {
	mu   sync.Mutex
	last map[types.NamespacedName]probe
}

type probe struct {
	session hub.Session
	// at is when it was proved; zero when it has to be again.
	at time.Time
	// refused is when it was refused first since.
	refused time.Time
}

func newProbes() *probes { return &probes{last: map[types.NamespacedName]probe{}} }

// fresh tells whether a session was proved after a time.
func (p *probes) fresh(key types.NamespacedName, session hub.Session, after time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[key]
	return last.session == session && last.at.After(after)
}

func (p *probes) passed(key types.NamespacedName, session hub.Session, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[key] = probe{session: session, at: at}
}

// confirmed notes a refusal of a session, and tells whether an earlier one was long
// enough ago, without a proof in between.
func (p *probes) confirmed(key types.NamespacedName, session hub.Session, at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[key]
	if last.session != session || last.refused.IsZero() {
		p.last[key] = probe{session: session, refused: at}
		return false
	}
	return at.Sub(last.refused) >= confirmAfter
}

// expire has a session proved again.
func (p *probes) expire(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.last[key]; ok {
		last.at = time.Time{}
		p.last[key] = last
	}
}

func (p *probes) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, key)
}
