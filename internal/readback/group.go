package readback

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/perkey"
)

// Group follows the twins of all hubs. It is safe for concurrent use.
type Group struct {
	clock     clock.Clock
	callbacks Callbacks
	// soonest is the shortest time that counts as late.
	soonest time.Duration
	// due are the hubs that are to be followed from now on, by HubConnection.
	due workqueue.TypedInterface[types.NamespacedName]

	mu    sync.Mutex
	hubs  map[types.NamespacedName]*followed
	names map[types.NamespacedName]place
}

// followed is a hub, by the HubConnection that leads to it.
type followed struct {
	poller       *poller
	fingerprints *fingerprints
	host         string
	served       bool               // by a HubConnection, and not only known by its twins
	stop         context.CancelFunc // nil until it runs
	late         bool               // as it was told of last
}

// place is where the twin of an object is.
type place struct {
	hub types.NamespacedName
	id  hub.ID
}

// Callbacks is who is told what a group finds out. Its functions are called without any lock held and must not block for
// long.
type Callbacks struct {
	// Moved is called for each object that there is something new about.
	Moved func(object types.NamespacedName)
	// Failing is called for a HubConnection whose hub did not answer, again when the reason is another one.
	Failing func(hub types.NamespacedName)
	// Late is called for a HubConnection whose read-back became late, and when it is late no more.
	Late func(hub types.NamespacedName)
}

// NewGroup returns a group that follows nothing yet.
func NewGroup(c clock.Clock, callbacks Callbacks) *Group {
	return &Group{
		clock: c, callbacks: callbacks, soonest: lateSoonest, due: workqueue.NewTyped[types.NamespacedName](),
		hubs: map[types.NamespacedName]*followed{}, names: map[types.NamespacedName]place{},
	}
}

// Start implements manager.Runnable: it follows the hubs until ctx ends.
func (g *Group) Start(ctx context.Context) error {
	var watching sync.WaitGroup
	watching.Go(func() { g.watch(ctx) })
	perkey.Run(ctx, g.due, g.follow)
	watching.Wait()
	return nil
}

// follow follows a hub until ctx ends or the hub is forgotten.
func (g *Group) follow(ctx context.Context, key types.NamespacedName) {
	ctx, stop := context.WithCancel(log.IntoContext(ctx, log.FromContext(ctx).WithName("readback").WithValues("hubConnection", key.String())))
	defer stop()
	g.mu.Lock()
	f := g.hubs[key]
	if f == nil || f.host == "" {
		g.mu.Unlock()
		return
	}
	f.stop = stop
	g.mu.Unlock()
	f.poller.run(ctx)
}

// at has to be called with the lock held.
func (g *Group) at(key types.NamespacedName) *followed {
	f := g.hubs[key]
	if f == nil {
		b := newFingerprints(g.callbacks.Moved, g.clock.Now())
		f = &followed{fingerprints: b, poller: newPoller(g.clock, b, g.soonest, func() { g.callbacks.Failing(key) })}
		g.hubs[key] = f
	}
	return f
}

// Serve follows a hub through a session, or goes on with other settings. What is known of its twins stays unless the
// session leads to another host. Without a session it is not asked for now.
func (g *Group) Serve(key types.NamespacedName, session Session, settings Settings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.at(key)
	f.served = true
	if session != nil && f.host != session.Host() {
		if f.host != "" {
			f.fingerprints.reset()
		}
		f.host = session.Host()
	}
	f.poller.serve(session, settings)
	if f.host != "" {
		g.due.Add(key)
	}
}

// ForgetHub stops to follow a hub, and forgets what is known of its twins.
func (g *Group) ForgetHub(key types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.hubs[key]; f != nil {
		delete(g.hubs, key)
		if f.stop != nil {
			f.stop()
		}
	}
}

// Track notes that an object manages a twin; it managed no other one from now on. It returns the object that was told of
// the twin until now, and is no more.
func (g *Group) Track(name, key types.NamespacedName, id hub.ID) (displaced types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.track(name, place{key, id})
}

// Join is Track for an object that only shows a twin: it does so unless another object is told of it.
func (g *Group) Join(name, key types.NamespacedName, id hub.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.at(key).fingerprints; b.tracked(id) && !b.tracks(id, name) {
		g.untrack(name)
		return
	}
	g.track(name, place{key, id})
}

// track has to be called with the lock held.
func (g *Group) track(name types.NamespacedName, now place) (displaced types.NamespacedName) {
	if before, ok := g.names[name]; ok && before != now {
		g.untrack(name)
	}
	g.names[name] = now
	if before := g.at(now.hub).fingerprints.track(now.id, name); before != name {
		delete(g.names, before)
		return before
	}
	return types.NamespacedName{}
}

// Untrack notes that an object manages no twin any more.
func (g *Group) Untrack(name types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.untrack(name)
}

// untrack has to be called with the lock held. A hub that neither a HubConnection nor a twin refers to goes.
func (g *Group) untrack(name types.NamespacedName) {
	before, ok := g.names[name]
	if !ok {
		return
	}
	delete(g.names, name)
	f := g.hubs[before.hub]
	if f == nil {
		return
	}
	if left := f.fingerprints.untrack(before.id, name); !left && !f.served {
		delete(g.hubs, before.hub)
	}
}

// Of is what is known of the twin of an object. It is nil for one that is not tracked, or whose hub was forgotten; that
// is usable.
func (g *Group) Of(name types.NamespacedName) *Known {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.names[name]
	if !ok || g.hubs[at.hub] == nil {
		return nil
	}
	return &Known{fingerprints: g.hubs[at.hub].fingerprints, id: at.id, clock: g.clock}
}

// State says what the read-back of a hub comes to.
func (g *Group) State(key types.NamespacedName) State {
	g.mu.Lock()
	f := g.hubs[key]
	g.mu.Unlock()
	if f == nil {
		return State{}
	}
	return f.poller.state()
}
