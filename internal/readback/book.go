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

// book holds the fingerprints of one hub's managed twins.
type book struct {
	seed maphash.Seed
	wake func(types.NamespacedName)
	// epoch is the moment 0 of all times in the book.
	epoch time.Time
	// room is signalled when a document was taken, asked when one is wanted.
	room, asked chan struct{}

	mu    sync.Mutex
	twins map[hub.ID]*entry
	doubts
	hands
	// sweeps number the looks at all twins of each source.
	sweeps map[hub.Source]uint32
	// late is how long an older row is late, and a refuted one refuted.
	late moment
}

// moment is a time since the epoch of a book, which takes a third of the memory of a time.
type moment time.Duration

// entry is what is remembered of one twin. There is one for each managed twin of a fleet: its size counts.
type entry struct {
	name  types.NamespacedName
	known fingerprint
	// learned is when that became known, confirmed when the hub itself last told, rather
	// than its index.
	learned, confirmed moment
	// hand is a document that no object has taken yet.
	hand *hub.Twin
	// refuted is a row that a direct read did not bear out, and since when; doubted one
	// that a direct read has to decide about; 0 means none.
	refuted, doubted uint64
	refutedAt        moment
	// seen is the last look at all twins that showed this one.
	seen uint32
	// wanted tells that a document is to be read, again that it is news also when it
	// shows what is known.
	wanted, again bool
	// old tells that the document in hand was there already when there was no room the last time, shown that
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

func newBook(wake func(types.NamespacedName), epoch time.Time) *book {
	return &book{
		seed: maphash.MakeSeed(), wake: wake, epoch: epoch,
		room: make(chan struct{}, 1), asked: make(chan struct{}, 1), twins: map[hub.ID]*entry{},
		doubts: doubts{budget: maxRefuted, waiting: map[hub.ID]uint64{}},
		sweeps: map[hub.Source]uint32{}, late: moment(maxLate),
	}
}

func (b *book) at(t time.Time) moment { return moment(t.Sub(b.epoch)) }

// bound has older rows count as late for as long as a look at all twins is apart from the next, and no longer than
// maxLate: so that what was restored is found by the second of them.
func (b *book) bound(sweep time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late = moment(min(sweep, maxLate))
}

func (b *book) hash(text string) uint64 {
	if text == "" {
		return 0
	}
	return max(1, maphash.String(b.seed, text))
}

func (b *book) fingerprint(s hub.Sighting) fingerprint {
	return fingerprint{version: s.Version, etag: b.hash(s.ETag), device: b.hash(s.DeviceETag), connected: s.ConnectionState == connected}
}

// row identifies a state as the index shows it.
func (b *book) row(f fingerprint) uint64 { return max(unreadable+1, maphash.Comparable(b.seed, f)) }

func sightingOf(twin *hub.Twin) hub.Sighting {
	return hub.Sighting{
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
func (b *book) judge(e *entry, row fingerprint, now moment) verdict {
	device := row.device == e.known.device || row.device == 0
	refuted := b.row(row) == e.refuted
	switch {
	case e.known.version == 0:
		return moved
	case row.version == e.known.version && row.etag == e.known.etag && device:
		return b.judgeConnection(e, row, now)
	case refuted && now-e.refutedAt < b.late:
		return nothing
	case row.version > e.known.version && !refuted:
		return moved
	case row.version < e.known.version && row.device != 0 && device && now-e.learned < b.late:
		return nothing // the row is late
	}
	return doubtful // the hub was restored, the device is another one, or the row is from before it was changed
}

// judgeConnection is judge for a row that differs in nothing but the connection, if at all.
func (b *book) judgeConnection(e *entry, row fingerprint, now moment) verdict {
	switch {
	case row.connected == e.known.connected:
		return nothing
	case now-e.confirmed >= moment(settleTime):
		return moved
	case b.row(row) == e.refuted:
		return nothing
	}
	return doubtful
}

// news is what a document tells that was asked for.
func (b *book) news(e *entry, row fingerprint, now moment) verdict {
	judged := b.judge(e, row, now)
	if judged == nothing && e.again && row.version == e.known.version && row.etag == e.known.etag {
		return moved
	}
	return judged
}

// track notes that an object manages a twin, and returns which one did until now.
func (b *book) track(id hub.ID, name types.NamespacedName) (before types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.twins[id]
	if e == nil {
		b.twins[id] = &entry{name: name}
		return types.NamespacedName{}
	}
	before, e.name = e.name, name
	return before
}

// tracks tells whether an object is the one that is told of a twin.
func (b *book) tracks(id hub.ID, name types.NamespacedName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.twins[id]
	return e != nil && e.name == name
}

// tracked tells whether any object is told of a twin.
func (b *book) tracked(id hub.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.twins[id] != nil
}

// untrack forgets a twin, unless another object manages it by now. It returns whether any twin is left.
func (b *book) untrack(id hub.ID, name types.NamespacedName) (left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.twins[id]; e != nil && e.name == name {
		b.drop(e)
		delete(b.twins, id)
		delete(b.waiting, id)
	}
	return len(b.twins) > 0
}

// reset forgets all that is known of twins: they are on another hub now.
func (b *book) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.twins {
		b.drop(e)
		*e = entry{name: e.name}
	}
	clear(b.waiting)
}

// dealt notes that an object is in step with a twin. direct tells that it was read
// from the hub itself.
func (b *book) dealt(twin *hub.Twin, direct bool, now time.Time) {
	b.mu.Lock()
	e := b.twins[twin.ID]
	if e == nil {
		b.mu.Unlock()
		return
	}
	if e.known.version == 0 {
		e.seen = b.sweeps[sourceOf(twin.ID)]
	}
	before := e.known
	e.known, e.learned = b.fingerprint(sightingOf(twin)), b.at(now)
	e.wanted, e.again = false, false
	if e.shown || direct && e.hand != nil && e.hand.Version <= twin.Version {
		b.drop(e)
	}
	var doubts []types.NamespacedName
	if direct {
		e.confirmed = b.at(now)
		doubts = b.decided(twin.ID, e, b.row(e.known), before != e.known, b.at(now))
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
}

// gone notes that the hub itself said it has no such twin.
func (b *book) gone(id hub.ID, now time.Time) {
	b.mu.Lock()
	e := b.twins[id]
	if e == nil {
		b.mu.Unlock()
		return
	}
	b.drop(e)
	doubts := b.decided(id, e, missing, true, b.at(now))
	e.known, e.wanted, e.again = fingerprint{}, false, false
	b.mu.Unlock()
	b.wakeAll(doubts)
}

// want asks for a document of a twin that nothing is known of yet.
func (b *book) want(id hub.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.twins[id]; e != nil && e.known.version == 0 && !e.wanted && e.hand == nil {
		e.wanted = true
		signal(b.asked)
	}
}

// reread has a document of a known twin read, and handed over whether it moved or not.
func (b *book) reread(id hub.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.twins[id]; e != nil && e.known.version != 0 && !e.again && e.hand == nil {
		e.wanted, e.again = true, true
		signal(b.asked)
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
func (b *book) evidence(id hub.ID, now time.Time) (twin *hub.Twin, known, doubt bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.twins[id]
	if e == nil {
		return nil, false, false
	}
	twin, e.shown = e.hand, e.hand != nil
	if twin != nil && b.news(e, b.fingerprint(sightingOf(twin)), b.at(now)) != moved {
		twin = nil // a direct read was faster
		b.drop(e)
	}
	return twin, e.known.version != 0, e.doubted != 0
}

func (b *book) wakeAll(names []types.NamespacedName) {
	for _, name := range names {
		b.wake(name)
	}
}
