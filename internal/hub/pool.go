package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// PoolOptions is what all sessions of a pool have in common. It fills in what a Config leaves out.
type PoolOptions struct {
	Clock     clock.WithDelayedExecution
	Metrics   *Metrics
	UserAgent string
	// Fence of all sessions, as in Config.
	Fence func() error
	// Limits hold for each hub in place of those of its configurations, where they are set.
	Limits dispatch.Limits
	// MaxInFlight bounds how many grants for one hub are held at once, whatever its limits; 0 means no bound.
	MaxInFlight int
}

// Pool keeps sessions by the content of their Config: the same content is the same session, with its open connections,
// whoever asks for it. All sessions with one host share its dispatcher, which outlives a change of credential. It is
// safe for concurrent use.
type Pool struct {
	options PoolOptions

	mu       sync.Mutex
	sessions map[string]*pooled
	byKey    map[string]*pooled
	limits   map[string]dispatch.Limits // by key
	turns    map[string]*dispatch.Dispatcher
}

// pooled is a session and the keys that use it.
type pooled struct {
	*session
	content string
	keys    map[string]struct{}
}

// NewPool returns an empty pool.
func NewPool(options PoolOptions) *Pool {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return &Pool{
		options:  options,
		sessions: map[string]*pooled{},
		byKey:    map[string]*pooled{},
		limits:   map[string]dispatch.Limits{},
		turns:    map[string]*dispatch.Dispatcher{},
	}
}

// Session returns the session for a Config and notes that the key uses it. When the key used another one before, that
// one is let go. Errors are those of Open; the key then uses none.
func (p *Pool) Session(key string, cfg Config) (Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	previous := p.byKey[key]
	cfg = p.complete(cfg)
	content, err := contentOf(cfg)
	if err != nil {
		p.release(key, previous)
		return nil, err
	}
	p.limits[key] = p.options.Limits.Or(cfg.Limits)
	if previous != nil && previous.content == content {
		p.restrict(previous.host)
		return previous.session, nil
	}
	current, err := p.find(content, cfg)
	if err != nil {
		p.release(key, previous)
		return nil, err
	}
	current.keys[key] = struct{}{}
	p.byKey[key] = current
	p.drop(key, previous)
	p.prune()
	p.restrict(current.host)
	return current.session, nil
}

// Forget notes that the key uses no session any more. A session that no key uses loses its open connections.
func (p *Pool) Forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(key, p.byKey[key])
}

func (p *Pool) complete(cfg Config) Config {
	if cfg.Clock == nil {
		cfg.Clock = p.options.Clock
	}
	if cfg.Metrics == nil {
		cfg.Metrics = p.options.Metrics
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = p.options.UserAgent
	}
	if cfg.Fence == nil {
		cfg.Fence = p.options.Fence
	}
	return cfg
}

// find returns the session for the content, a new one if need be.
func (p *Pool) find(content string, cfg Config) (*pooled, error) {
	if known, ok := p.sessions[content]; ok {
		return known, nil
	}
	target, err := cfg.target()
	if err != nil {
		return nil, err
	}
	host := target.host
	turns, ok := p.turns[host]
	if !ok {
		turns = dispatch.New(dispatch.Options{
			Limits: p.options.Limits.Or(cfg.Limits), MaxInFlight: p.options.MaxInFlight, Clock: p.options.Clock,
		})
	}
	opened, err := open(cfg, turns)
	if err != nil {
		return nil, err
	}
	p.turns[host] = turns
	p.options.Metrics.add(host, turns)
	added := &pooled{session: opened, content: content, keys: map[string]struct{}{}}
	p.sessions[content] = added
	return added, nil
}

// release makes a key use nothing.
func (p *Pool) release(key string, previous *pooled) {
	delete(p.byKey, key)
	delete(p.limits, key)
	p.drop(key, previous)
	p.prune()
	if previous != nil {
		p.restrict(previous.host)
	}
}

// drop takes a key off a session, and the session out of the pool when that was its last.
func (p *Pool) drop(key string, from *pooled) {
	if from == nil {
		return
	}
	delete(from.keys, key)
	if len(from.keys) == 0 {
		delete(p.sessions, from.content)
		from.closeIdle()
	}
}

// restrict holds a host to the smallest limits of those who use it.
func (p *Pool) restrict(host string) {
	turns, ok := p.turns[host]
	if !ok {
		return
	}
	var strictest *dispatch.Limits
	for key, used := range p.byKey {
		if used.host != host {
			continue
		}
		limits := p.limits[key].Or(dispatch.S1())
		if strictest != nil {
			limits = strictest.Stricter(limits)
		}
		strictest = &limits
	}
	if strictest != nil {
		turns.SetLimits(*strictest)
	}
}

// Withdraw drops whoever waits for a turn at any hub and is gone.
func (p *Pool) Withdraw(key string) {
	for _, turns := range p.dispatchers() {
		turns.Forget(key)
	}
}

func (p *Pool) dispatchers() []*dispatch.Dispatcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.turns))
}

// prune forgets the hosts that have no session: nobody waits for them any more. A dispatcher that is in use or has
// tokens missing stays until they are back, or letting go of a hub and coming back would double its rate.
func (p *Pool) prune() {
	inUse := map[string]struct{}{}
	for _, s := range p.sessions {
		inUse[s.host] = struct{}{}
	}
	for host, turns := range p.turns {
		if _, used := inUse[host]; used {
			continue
		}
		turns.Drain()
		if turns.Idle() {
			delete(p.turns, host)
			p.options.Metrics.forget(host)
		}
	}
}

// contentOf is a digest of what makes two configurations the same: no credential is kept as a map key.
func contentOf(cfg Config) (string, error) {
	cs, err := cfg.target()
	if err != nil {
		return "", err
	}
	var identity []string
	if w := cfg.WorkloadIdentity; w != nil {
		identity = []string{w.TenantID, w.ClientID, w.Subject, w.AuthorityHost, string(w.CABundle)}
	}
	encoded, err := json.Marshal([]any{
		cs.host, cs.policy, cs.key, bytes.TrimSpace(cfg.CABundle), cfg.AllowedHostSuffixes, cfg.UserAgent, identity,
	})
	if err != nil {
		return "", malformed("it cannot be encoded")
	}
	digest := sha256.Sum256(encoded)
	return hex.EncodeToString(digest[:]), nil
}
