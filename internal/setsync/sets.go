package setsync

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// Sets remember of each DeviceTwinSet what neither its status nor the hub tells. They are
// safe for concurrent use, with one step of a set at a time.
type Sets struct {
	clock clock.PassiveClock
	// places is how many sets of one hub make a step at once.
	places int

	mu    sync.Mutex
	known map[types.NamespacedName]*progress
	busy  map[string]int // steps under way by host
}

// New returns a memory of no set. places is how many sets of one hub may make a step at once.
func New(c clock.PassiveClock, places int) *Sets {
	return &Sets{clock: c, places: places, known: map[types.NamespacedName]*progress{}, busy: map[string]int{}}
}

// Forget drops a set that is gone, and tells its UID; "" if nothing was remembered.
func (s *Sets) Forget(name types.NamespacedName) (uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[name]; known != nil {
		uid = known.uid
	}
	delete(s.known, name)
	return uid
}

// begin takes one of the places that the sets of a hub share: one that hangs must not hold most of
// the workers. It reports false where there is none.
func (s *Sets) begin(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[host] >= s.places {
		return false
	}
	s.busy[host]++
	return true
}

func (s *Sets) end(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[host]--; s.busy[host] == 0 {
		delete(s.busy, host)
	}
}

// of is what is remembered of a set; nothing yet of one that took the place of a namesake.
func (s *Sets) of(name types.NamespacedName, uid types.UID) *progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[name] == nil || s.known[name].uid != uid {
		s.known[name] = &progress{
			uid: uid, recent: newRecent(s.clock), refused: lru.New(maxRefused), restored: lru.New(maxRefused), inFlight: map[string]struct{}{},
		}
	}
	return s.known[name]
}

const (
	// maxRefused bounds how many devices are remembered that cannot be written, and how many that
	// another writer changes: what is forgotten is tried again sooner, and no more.
	maxRefused = 4096
	// maxExamples is the schema's bound of status.examples.
	maxExamples = 20
)

// progress is what is remembered of one set.
type progress struct {
	uid types.UID
	// revision and wave are what the counts and the position speak of.
	revision, wave string

	// mu guards what the writers of one step share.
	mu sync.Mutex
	// recent are devices that were written, and that the index may not show so yet.
	recent *recent
	// refused are devices that cannot be written, with the time to try again.
	refused *lru.Cache
	// restored are devices that another writer changed, with how often.
	restored *lru.Cache
	inFlight map[string]struct{}
	tally    fleet.WaveCounts
	counts   v1alpha1.SetCounts
	examples []v1alpha1.SetExample
	written  int64 // by this process, of the revision
	changes  int64 // by this process, of any twin

	// at is where the work list is followed.
	at        position
	exhausted bool
	// based tells that the wave's counts are from the hub.
	based bool

	countedAt, passedAt, polledAt, basedAt, sweptAt, marksAt, overriddenAt time.Time
	// countTook and upkeepTook are how long counting and maintaining took last.
	countTook, upkeepTook time.Duration
	// drift and sweep are where the checks of devices in step go on.
	drift, sweep position
	// selector that the selected devices were counted by, and when they were.
	selector   string
	selectedAt time.Time
	// leaving tells that devices left, and are looked for from a place on.
	leaving bool
	leftAt  continuation
	// began is the first write of the revision by this process.
	began time.Time
	// conflicts counts devices of checks of which others keep leaves, and swept those of the sweep
	// that goes on.
	conflicts, swept int64
	// clearing tells that the set goes; lost counts twins that name a revision which is gone.
	clearing bool
	lost     int64
}

// position is a place in the work list: a question, and where its answer goes on.
type position struct {
	question int
	next     continuation
	// wrote tells that the pass found something to write so far.
	wrote bool
}

// continuation is where the answer to a query goes on. It counts for that query alone: an edit of the
// selector, or of the hub's scopes, makes another one of it.
type continuation struct{ query, token string }

// of is the token for a query; "" for its beginning.
func (c continuation) of(query string) string {
	if c.query != query {
		return ""
	}
	return c.token
}

// ended tells that there is no more to come.
func (c continuation) ended() bool { return c.token == "" }

// enter begins with a wave of a revision.
func (p *progress) enter(revision, wave string) {
	if p.revision != revision {
		p.written, p.began, p.examples, p.inFlight = 0, time.Time{}, nil, map[string]struct{}{}
		p.refused.Clear()
		p.recent.clear()
	}
	p.revision, p.wave = revision, wave
	p.tally, p.at, p.exhausted, p.based, p.polledAt = fleet.WaveCounts{}, position{}, false, false, time.Time{}
}

// example notes a device that is worth looking at.
func (p *progress) example(device, reason, message string) {
	const maxMessage = 256 // the schema's bound
	message = outcome.Cut(message, maxMessage)
	for i := range p.examples {
		if p.examples[i].DeviceID == device {
			p.examples[i].Reason, p.examples[i].Message = reason, message
			return
		}
	}
	if len(p.examples) < maxExamples {
		p.examples = append(p.examples, v1alpha1.SetExample{DeviceID: device, Reason: reason, Message: message})
	}
}
