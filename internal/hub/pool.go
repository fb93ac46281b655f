package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
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
	// Dial of all sessions, as in Config.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Limits hold for each hub in place of those of its configurations, where they are set.
	Limits dispatch.Limits
	// MaxInFlight bounds how many permits for one hub are held at once, whatever its limits; 0 means no bound.
	MaxInFlight int
}

// Pool keeps one session for each key that uses one, with its open connections, for as long as the content of its Config
// stays the same. A session that has proved nothing has a dispatcher to itself. All that have proved their credential
// to one hub share its dispatcher, which outlives a change of credential. It is safe for concurrent use.
type Pool struct {
	options PoolOptions

	mu      sync.Mutex
	members map[string]*member // by key
	// shared are the dispatchers of the hosts that were proved to.
	shared map[string]*dispatch.Dispatcher
}

// member is what a key uses.
type member struct {
	*session
	content string
	age     Age
	limits  dispatch.Limits
	// lane is where its sessions prove themselves.
	lane *dispatch.Dispatcher
	// joined is the session that shares the host's dispatcher: the current one, or the one before it until the hub
	// has said something of the current one; nil for none.
	joined *session
	// known tells that one of its sessions with this host has joined: objects may still use one that has left.
	known bool
}

// proving is what a key may use of a host that has not accepted its credential: enough to try it again and again, and
// too little to be of weight at the hub.
func proving() dispatch.Limits {
	return dispatch.Limits{ReadsPerSecond: 2, UpdatesPerSecond: 1, QueriesPerMinute: 6, RegistryPerMinute: 6}
}

// NewPool red an empty pool.
func NewPool(options PoolOptions) *Pool {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return &Pool{options: options, members: map[string]*member{}, shared: map[string]*dispatch.Dispatcher{}}
}

// Session red the session for a Config and notes that the key uses it, in place of any before. Errors are those of
// Open; the key then uses none.
func (p *Pool) Session(key string, cfg Config) (Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cfg = p.complete(cfg)
	content, err := contentOf(cfg)
	if err != nil {
		p.release(key)
		return nil, err
	}
	m := p.members[key]
	if m == nil || m.content != content {
		if m, err = p.replace(key, content, cfg); err != nil {
			p.release(key)
			return nil, err
		}
	}
	m.age, m.limits = cfg.Age, p.options.Limits.Or(cfg.Limits)
	m.share.SetLimits(m.limits)
	p.rule(m.host)
	return m.session, nil
}

// Forget notes that the key uses no session any more.
func (p *Pool) Forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(key)
	p.prune()
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
	if cfg.Dial == nil {
		cfg.Dial = p.options.Dial
	}
	return cfg
}

// replace opens a session for a key. One with the same host before it goes on until something is heard of the new one:
// those who use the hub notice nothing of a credential that is exchanged in time.
func (p *Pool) replace(key, content string, cfg Config) (*member, error) {
	to, err := cfg.target()
	if err != nil {
		return nil, err
	}
	limits := p.options.Limits.Or(cfg.Limits)
	before := p.members[key]
	if before != nil && before.host != to.name {
		p.release(key)
		before = nil
	}
	added := &member{content: content}
	if before != nil {
		added.lane, added.joined, added.known = before.lane, before.joined, before.known
	} else {
		added.lane = dispatch.New(dispatch.Options{
			Limits: proving().Stricter(limits.Or(dispatch.S1())), MaxInFlight: p.options.MaxInFlight, Clock: p.options.Clock,
		})
	}
	with := &standing{share: added.lane.Share(limits)}
	with.changed = func() { p.settle(key, with) }
	if added.session, err = open(cfg, with); err != nil {
		return nil, err
	}
	if before != nil {
		before.closeIdle()
	}
	p.members[key] = added
	p.prune()
	return added, nil
}

// settle lets a session join the others with its host, or has it leave them, by what was heard last.
func (p *Pool) settle(key string, with *standing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.members[key]
	if m == nil || m.standing != with {
		return // it is not in use any more
	}
	if !with.proved() {
		m.joined = nil
		m.share.Move(m.lane)
		p.rule(m.host)
		return
	}
	d, ok := p.shared[m.host]
	if !ok {
		d = dispatch.New(dispatch.Options{Limits: m.limits, MaxInFlight: p.options.MaxInFlight, Clock: p.options.Clock})
		p.shared[m.host] = d
		p.options.Metrics.add(m.host, d)
	}
	m.share.Move(d)
	if m.joined != nil {
		m.share.Succeed(m.joined.share)
	}
	m.joined, m.known = m.session, true
	p.rule(m.host)
}

// release makes a key use nothing.
func (p *Pool) release(key string) {
	m := p.members[key]
	if m == nil {
		return
	}
	delete(p.members, key)
	m.lane.Drain()
	m.closeIdle()
	p.prune()
	p.rule(m.host)
}

// rule has the limits of the eldest hold for a host. Those of a later one hold for itself: who adds a HubConnection
// takes nothing from those who use the hub.
func (p *Pool) rule(host string) {
	d, ok := p.shared[host]
	if !ok {
		return
	}
	var eldest *member
	for _, m := range p.members {
		if m.joined != nil && m.host == host && (eldest == nil || m.age.before(eldest.age)) {
			eldest = m
		}
	}
	if eldest != nil {
		d.Rule(eldest.joined.share)
	}
}

// Withdraw drops the request of a caller that is gone, at whatever hub it waits.
func (p *Pool) Withdraw(key string) {
	for _, d := range p.dispatchers() {
		d.Forget(key)
	}
}

// dispatchers are those with which something waits.
func (p *Pool) dispatchers() []*dispatch.Dispatcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*dispatch.Dispatcher
	for _, d := range p.shared {
		all = append(all, d)
	}
	for _, m := range p.members {
		if m.lane.InUse() {
			all = append(all, m.lane)
		}
	}
	return all
}

// prune forgets the hosts whose users are gone: no caller waits for them any more. A dispatcher that is in use or
// has tokens missing stays until they are back, or releasing a hub and coming back would double its rate.
func (p *Pool) prune() {
	inUse := map[string]struct{}{}
	for _, m := range p.members {
		if m.known {
			inUse[m.host] = struct{}{}
		}
	}
	for host, d := range p.shared {
		if _, used := inUse[host]; used {
			continue
		}
		d.Drain()
		if d.Idle() {
			delete(p.shared, host)
			p.options.Metrics.forget(host)
		}
	}
}

// contentOf is a digest of what makes two configurations the same: no credential is kept as a map key.
func contentOf(cfg Config) (string, error) {
	to, err := cfg.target()
	if err != nil {
		return "", err
	}
	var identity []string
	if w := cfg.WorkloadIdentity; w != nil {
		identity = []string{w.TenantID, w.ClientID, w.Subject, w.AuthorityHost, w.Scope, string(w.CABundle)}
	}
	encoded, err := json.Marshal([]any{
		to.host, to.policy, to.key, bytes.TrimSpace(cfg.CABundle), cfg.AllowedHostSuffixes, cfg.UserAgent, identity,
	})
	if err != nil {
		return "", malformed("it cannot be encoded")
	}
	digest := sha256.Sum256(encoded)
	return hex.EncodeToString(digest[:]), nil
}
