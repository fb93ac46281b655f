package readback

import (
	"hash/maphash"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// settleTime is how long a direct read is believed more than the index when they
// differ in nothing but the connection: IoT Hub's index was seen to be late by six
// seconds, and has no time for this.
const settleTime = 30 * time.Second

// maxLate is how long after a state became known an older row of the index can be taken
// for a late one, and how long a row stays refuted: IoT Hub's index is seconds late as a
// rule, and minutes at times. Beyond it the hub may have been restored.
const maxLate = 5 * time.Minute

// fingerprints holds the fingerprints of one hub's managed twins.
type fingerprints struct {
	seed maphash.Seed
	wake func(types.NamespacedName)
	// epoch is the moment 0 of all times.
	epoch time.Time
	// room is signalled when a document was taken, asked when one is wanted.
	room, asked chan struct{}

	mu    sync.Mutex
	twins map[hub.ID]*entry
	doubts
	pending
	// sweeps number the full sweeps of each source.
	sweeps map[hub.Source]uint32
	// late is how long an older row is late, and a refuted one refuted.
	late moment
}

// moment is a time since the epoch, which takes a third of the memory of a time.
type moment time.Duration

// entry is what is remembered of one twin. There is one for each managed twin of a fleet: its size counts.
type entry struct {
	name  types.NamespacedName
	known fingerprint
	// learned is when that became known, confirmed when the hub itself last told, rather
	// than its index.
	learned, confirmed moment
	// document is a document that no object has taken yet.
	document *hub.Twin
	// refuted is a row that a direct read did not bear out, and since when; doubted one
	// that a direct read has to decide about; 0 means none.
	refuted, doubted uint64
	refutedAt        moment
	// seen is the last full sweep that showed this one.
	seen uint32
	// wanted tells that a document is to be read, again that it is news also when it
	// shows what is known.
	wanted, again bool
	// old tells that the pending document was there already when there was no room the last time, shown that
	// a reconcile has seen it.
	old, shown bool
}

// fingerprint tells two states of a twin apart.
type fingerprint struct {
	version      int64 // 0 means that nothing is known
	etag, device uint64
	connected    bool
}

const connected = "Connected"

func newFingerprints(wake func(types.NamespacedName), epoch time.Time) *fingerprints {
	return &fingerprints{
		seed: maphash.MakeSeed(), wake: wake, epoch: epoch,
		room: make(chan struct{}, 1), asked: make(chan struct{}, 1), twins: map[hub.ID]*entry{},
		doubts: doubts{budget: maxRefuted, waiting: map[hub.ID]uint64{}},
		sweeps: map[hub.Source]uint32{}, late: moment(maxLate),
	}
}

func (f *fingerprints) at(t time.Time) moment { return moment(t.Sub(f.epoch)) }

// bound has older rows count as late for as long as a full sweep is apart from the next, and no longer than
// maxLate: so that what was restored is found by the second of them.
func (f *fingerprints) bound(sweep time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = moment(min(sweep, maxLate))
}

func (f *fingerprints) hash(text string) uint64 {
	if text == "" {
		return 0
	}
	return max(1, maphash.String(f.seed, text))
}

func (f *fingerprints) fingerprint(s hub.IndexRow) fingerprint {
	return fingerprint{version: s.Version, etag: f.hash(s.ETag), device: f.hash(s.DeviceETag), connected: s.ConnectionState == connected}
}

// row identifies a state as the index shows it.
func (f *fingerprints) row(of fingerprint) uint64 {
	return max(unreadable+1, maphash.Comparable(f.seed, of))
}

func rowOf(twin *hub.Twin) hub.IndexRow {
	return hub.IndexRow{
		ID: twin.ID, ETag: twin.ETag, DeviceETag: twin.DeviceETag, Version: twin.Version, ConnectionState: twin.ConnectionState,
	}
}

// verdict is what a row of the index means.
type verdict int

const (
	// nothing: the twin is as it is known, or the row is not to be believed for now.
	nothing verdict = iota
	// moved: the twin is newer than it is known.
	moved
	// doubtful: the row contradicts what is known; only the hub itself can tell.
	doubtful
)

// judge says what a row means. It has to be called with the lock held.
func (f *fingerprints) judge(e *entry, row fingerprint, now moment) verdict {
	device := row.device == e.known.device || row.device == 0
	refuted := f.row(row) == e.refuted
	switch {
	case e.known.version == 0:
		return moved
	case row.version == e.known.version && row.etag == e.known.etag && device:
		return f.judgeConnection(e, row, now)
	case refuted && now-e.refutedAt < f.late:
		return nothing
	case row.version > e.known.version && !refuted:
		return moved
	case row.version < e.known.version && row.device != 0 && device && now-e.learned < f.late:
		return nothing // the row is late
	}
	return doubtful // the hub was restored, the device is another one, or the row is from before it was changed
}

// judgeConnection is judge for a row that differs in nothing but the connection, if at all.
func (f *fingerprints) judgeConnection(e *entry, row fingerprint, now moment) verdict {
	switch {
	case row.connected == e.known.connected:
		return nothing
	case now-e.confirmed >= moment(settleTime):
		return moved
	case f.row(row) == e.refuted:
		return nothing
	}
	return doubtful
}

// news is what a document tells that was asked for.
func (f *fingerprints) news(e *entry, row fingerprint, now moment) verdict {
	judged := f.judge(e, row, now)
	if judged == nothing && e.again && row.version == e.known.version && row.etag == e.known.etag {
		return moved
	}
	return judged
}

// track notes that an object manages a twin, and returns which one did until now.
func (f *fingerprints) track(id hub.ID, name types.NamespacedName) (before types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.twins[id]
	if e == nil {
		f.twins[id] = &entry{name: name}
		return types.NamespacedName{}
	}
	before, e.name = e.name, name
	return before
}

// tracks tells whether an object is the one that is told of a twin.
func (f *fingerprints) tracks(id hub.ID, name types.NamespacedName) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.twins[id]
	return e != nil && e.name == name
}

// tracked tells whether any object is told of a twin.
func (f *fingerprints) tracked(id hub.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.twins[id] != nil
}

// untrack forgets a twin, unless another object manages it by now. It returns whether any twin is left.
func (f *fingerprints) untrack(id hub.ID, name types.NamespacedName) (left bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.twins[id]; e != nil && e.name == name {
		f.drop(e)
		delete(f.twins, id)
		delete(f.waiting, id)
	}
	return len(f.twins) > 0
}

// reset forgets all that is known of twins: they are on another hub now.
func (f *fingerprints) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.twins {
		f.drop(e)
		*e = entry{name: e.name}
	}
	clear(f.waiting)
}

// dealt notes that an object is in step with a twin. direct tells that it was read
// from the hub itself.
func (f *fingerprints) dealt(twin *hub.Twin, direct bool, now time.Time) {
	f.mu.Lock()
	e := f.twins[twin.ID]
	if e == nil {
		f.mu.Unlock()
		return
	}
	if e.known.version == 0 {
		e.seen = f.sweeps[sourceOf(twin.ID)]
	}
	before := e.known
	e.known, e.learned = f.fingerprint(rowOf(twin)), f.at(now)
	e.wanted, e.again = false, false
	if e.shown || direct && e.document != nil && e.document.Version <= twin.Version {
		f.drop(e)
	}
	var doubts []types.NamespacedName
	if direct {
		e.confirmed = f.at(now)
		doubts = f.decided(twin.ID, e, f.row(e.known), before != e.known, f.at(now))
	}
	f.mu.Unlock()
	f.wakeAll(doubts)
}

// gone notes that the hub itself said it has no such twin.
func (f *fingerprints) gone(id hub.ID, now time.Time) {
	f.mu.Lock()
	e := f.twins[id]
	if e == nil {
		f.mu.Unlock()
		return
	}
	f.drop(e)
	doubts := f.decided(id, e, missing, true, f.at(now))
	e.known, e.wanted, e.again = fingerprint{}, false, false
	f.mu.Unlock()
	f.wakeAll(doubts)
}

// want asks for a document of a twin that nothing is known of yet.
func (f *fingerprints) want(id hub.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.twins[id]; e != nil && e.known.version == 0 && !e.wanted && e.document == nil {
		e.wanted = true
		signal(f.asked)
	}
}

// reread has a document of a known twin read, and handed over whether it moved or not.
func (f *fingerprints) reread(id hub.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.twins[id]; e != nil && e.known.version != 0 && !e.again && e.document == nil {
		e.wanted, e.again = true, true
		signal(f.asked)
	}
}

func signal(channel chan<- struct{}) {
	select {
	case channel <- struct{}{}:
	default: // it is signalled already
	}
}

// evidence is what there is about a twin: a document that is newer than what is
// known, if there is one, which stays until it was dealt with; whether anything was known
// before; and whether only a direct read will do.
func (f *fingerprints) evidence(id hub.ID, now time.Time) (twin *hub.Twin, known, doubt bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.twins[id]
	if e == nil {
		return nil, false, false
	}
	twin, e.shown = e.document, e.document != nil
	if twin != nil && f.news(e, f.fingerprint(rowOf(twin)), f.at(now)) != moved {
		twin = nil // a direct read was faster
		f.drop(e)
	}
	return twin, e.known.version != 0, e.doubted != 0
}

func (f *fingerprints) wakeAll(names []types.NamespacedName) {
	for _, name := range names {
		f.wake(name)
	}
}
