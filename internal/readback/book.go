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

// book holds the fingerprints of one hub's managed twins.
type book struct {
	seed maphash.Seed
	wake func(types.NamespacedName)
	// room is signalled when a document was taken, asked when one is wanted.
	room, asked chan struct{}

	mu     sync.Mutex
	twins  map[hub.ID]*entry
	inHand int
	// sweep numbers the looks at all twins.
	sweep uint32
}

// entry is what is remembered of one twin.
type entry struct {
	name  types.NamespacedName
	known fingerprint
	// confirmed is when the hub itself last told, rather than its index.
	confirmed time.Time
	// hand is a document that nobody has taken yet.
	hand *hub.Twin
	// refuted is a row that a direct read did not bear out, doubted one that a
	// direct read has to decide about; 0 means none.
	refuted, doubted uint64
	// seen is the last look at all twins that showed this one.
	seen uint32
	// wanted tells that a document is to be read, again that it is news also when it
	// shows what is known.
	wanted, again bool
}

// fingerprint tells two states of a twin apart.
type fingerprint struct {
	version      int64 // 0 means that nothing is known
	etag, device uint64
	connected    bool
}

const connected = "Connected"

func newBook(wake func(types.NamespacedName)) *book {
	return &book{seed: maphash.MakeSeed(), wake: wake, room: make(chan struct{}, 1), asked: make(chan struct{}, 1), twins: map[hub.ID]*entry{}}
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
func (b *book) row(f fingerprint) uint64 { return max(1, maphash.Comparable(b.seed, f)) }

func sightingOf(twin *hub.Twin) hub.Sighting {
	return hub.Sighting{
		ID: twin.ID, ETag: twin.ETag, DeviceETag: twin.DeviceETag, Version: twin.Version, ConnectionState: twin.ConnectionState,
	}
}

// verdict is what a row of the index means.
type verdict int

const (
	// nothing: the twin is not managed, or is as it is known.
	nothing verdict = iota
	// moved: the twin is newer than it is known.
	moved
	// doubtful: the row contradicts what is known; only the hub itself can tell.
	doubtful
)

// judge says what a row means. It has to be called with the lock held.
func (b *book) judge(e *entry, row fingerprint, now time.Time) verdict {
	device := row.device == e.known.device || row.device == 0
	switch {
	case e.known.version == 0:
		return moved
	case b.row(row) == e.refuted:
		return nothing
	case row.version > e.known.version:
		return moved
	case row.version < e.known.version && row.device != 0 && device:
		return nothing // the row is late
	case row.version != e.known.version || row.etag != e.known.etag || !device:
		return doubtful // another device of the same id, or a row from before the device was changed
	case row.connected == e.known.connected:
		return nothing
	case now.Sub(e.confirmed) < settleTime:
		return doubtful
	}
	return moved
}

// news is what a document tells that was asked for.
func (b *book) news(e *entry, row fingerprint, now time.Time) verdict {
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

// untrack forgets a twin, unless another object manages it by now.
func (b *book) untrack(id hub.ID, name types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.twins[id]; e != nil && e.name == name {
		b.take(e)
		delete(b.twins, id)
	}
}

// take has to be called with the lock held.
func (b *book) take(e *entry) *hub.Twin {
	twin := e.hand
	if twin != nil {
		e.hand = nil
		b.inHand--
		signal(b.room)
	}
	return twin
}

// reset forgets all that is known of twins: they are on another hub now.
func (b *book) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.twins {
		b.take(e)
		*e = entry{name: e.name}
	}
}

// dealt notes that an object is in step with a twin. direct tells that it was read
// from the hub itself.
func (b *book) dealt(twin *hub.Twin, direct bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.twins[twin.ID]
	if e == nil {
		return
	}
	if e.known.version == 0 {
		e.seen = b.sweep
	}
	e.known = b.fingerprint(sightingOf(twin))
	e.wanted, e.again = false, false
	if direct {
		e.confirmed = now
		b.decided(e, b.row(e.known))
	}
}

// gone notes that the hub itself said it has no such twin.
func (b *book) gone(id hub.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.twins[id]; e != nil {
		b.take(e)
		b.decided(e, 0)
		e.known, e.wanted, e.again = fingerprint{}, false, false
	}
}

// decided ends a doubt: the row was not borne out unless it is the one that the hub
// told. It has to be called with the lock held.
func (b *book) decided(e *entry, told uint64) {
	if e.doubted != 0 && e.doubted != missing && e.doubted != told {
		e.refuted = e.doubted
	}
	e.doubted = 0
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

// evidence takes what there is about a twin: a document that is newer than what is
// known, if there is one; whether anything was known before; and whether only a
// direct read will do.
func (b *book) evidence(id hub.ID, now time.Time) (twin *hub.Twin, known, doubt bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.twins[id]
	if e == nil {
		return nil, false, false
	}
	twin = b.take(e)
	if twin != nil && b.news(e, b.fingerprint(sightingOf(twin)), now) != moved {
		twin = nil // a direct read was faster
	}
	return twin, e.known.version != 0, e.doubted != 0
}

// look notes a page of rows; whole tells that it is of a look at all twins. It
// returns how late the index showed a write, at most: before is the newest one that
// it had shown when it was asked last.
func (b *book) look(page []hub.Sighting, whole bool, before, now time.Time) (late time.Duration) {
	var doubts []types.NamespacedName
	b.mu.Lock()
	for _, s := range page {
		e := b.twins[s.ID]
		if e == nil {
			continue
		}
		if whole {
			e.seen = b.sweep
		}
		if e.known.version == 0 {
			continue // its object is about to read it, or has asked for it
		}
		row := b.fingerprint(s)
		switch b.judge(e, row, now) {
		case moved:
			e.wanted = true
			if !s.Written.IsZero() && s.Written.Before(before) {
				late = max(late, before.Sub(s.Written))
			}
		case doubtful:
			if e.doubted != b.row(row) {
				e.doubted = b.row(row)
				doubts = append(doubts, e.name)
			}
		}
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
	return late
}

// missing is the row of a twin that the index does not show.
const missing = 1

// beginSweep starts a look at all twins of a source, and lists them. What becomes known
// after that moment is not listed, so it is not missed at the end either.
func (b *book) beginSweep(from hub.Source) []hub.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep++
	return b.list(from, func(e *entry) bool { return e.known.version != 0 })
}

// maxMissing bounds how many direct reads one look can lead to: an index that lost
// its content must not have the whole fleet read one by one.
const maxMissing = 100

// endSweep leaves it to direct reads whether the twins exist that a whole look has
// not shown.
func (b *book) endSweep(from hub.Source) {
	var doubts []types.NamespacedName
	b.mu.Lock()
	for id, e := range b.twins {
		if ofSource(id, from) && e.known.version != 0 && e.seen != b.sweep && len(doubts) < maxMissing {
			e.doubted = missing
			doubts = append(doubts, e.name)
		}
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
}

// offer hands a document from the index to the object that manages the twin, if it
// says something new.
func (b *book) offer(twin *hub.Twin, now time.Time) {
	b.mu.Lock()
	e := b.twins[twin.ID]
	if e == nil || !e.wanted {
		b.mu.Unlock()
		return
	}
	verdict := b.news(e, b.fingerprint(sightingOf(twin)), now)
	e.wanted = e.again && verdict == nothing // the index is late: the next one
	switch verdict {
	case moved:
		if e.hand == nil {
			b.inHand++
		}
		e.hand = twin
	case doubtful:
		e.doubted = b.row(b.fingerprint(sightingOf(twin)))
	}
	name := e.name
	b.mu.Unlock()
	if verdict != nothing {
		b.wake(name)
	}
}

// putBack returns a document that could not be dealt with.
func (b *book) putBack(twin *hub.Twin) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.twins[twin.ID]; e != nil && e.hand == nil {
		e.hand = twin
		b.inHand++
	}
}

// absent leaves it to direct reads what is with twins that a batch did not show.
func (b *book) absent(ids []hub.ID) {
	var doubts []types.NamespacedName
	b.mu.Lock()
	for _, id := range ids {
		if e := b.twins[id]; e != nil && e.wanted {
			e.wanted, e.doubted = false, missing
			doubts = append(doubts, e.name)
		}
	}
	b.mu.Unlock()
	b.wakeAll(doubts)
}

// full tells whether as many documents wait as may.
func (b *book) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inHand >= maxInHand
}

// maxInHand bounds the documents that wait for their objects, and so the memory
// they take: at the largest twins some 100 MB.
const maxInHand = 1000

func (b *book) wakeAll(names []types.NamespacedName) {
	for _, name := range names {
		b.wake(name)
	}
}
