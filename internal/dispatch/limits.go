package dispatch

import (
	"fmt"
	"math"
)

// Class is a group of operations that share one throttle of a hub.
type Class int

// The classes that the operator uses.
const (
	Reads    Class = iota // of twins
	Updates               // of twins
	Queries               // pages of queries
	Registry              // operations on identities
	classes
)

var classNames = [classes]string{"twinReads", "twinUpdates", "queries", "registry"}

func (c Class) String() string { return classNames[c] }

// Need is how many operations of each class something takes.
type Need [classes]int

// The needs of a reconcile of one object: to read a twin, and to read and write it.
var (
	ReadNeed  = Need{Reads: 1}
	WriteNeed = Need{Reads: 1, Updates: 1}
)

// one is the need of a single operation.
func one(class Class) (n Need) {
	n[class] = 1
	return n
}

// covers tells whether a need leaves nothing of another one open.
func (n Need) covers(other Need) bool { return n.with(other) == n }

// with is what covers both.
func (n Need) with(other Need) Need {
	for class := range n {
		n[class] = max(n[class], other[class])
	}
	return n
}

// Limits is how much of one hub may be used.
type Limits struct {
	ReadsPerSecond    float64
	UpdatesPerSecond  float64
	QueriesPerMinute  float64
	RegistryPerMinute float64

	// DailyMessages that may be used in a day from 00:00 UTC, and how many bytes one
	// of them holds.
	DailyMessages int64
	MessageBytes  int64
}

// Tier is a size of hub as IoT Hub sells it.
type Tier struct {
	SKU   string // F1, S1, S2 or S3
	Units int
}

const (
	// fullMessage is how many bytes one billed message holds: 4 KB on paid hubs,
	// 0.5 KB on free ones.
	fullMessage = 4096
	freeMessage = 512
)

// Limits are the throttles and the daily quota that IoT Hub documents for a tier.
func (t Tier) Limits() (Limits, error) {
	units := float64(t.Units)
	if t.Units < 1 {
		return Limits{}, fmt.Errorf("a hub of %d units: there has to be one", t.Units)
	}
	small := Limits{
		ReadsPerSecond: 100, UpdatesPerSecond: 50, QueriesPerMinute: 20 * units, RegistryPerMinute: 100 * units,
		DailyMessages: 400_000 * int64(t.Units), MessageBytes: fullMessage,
	}
	switch t.SKU {
	case "F1":
		small.DailyMessages, small.MessageBytes = 8_000*int64(t.Units), freeMessage
	case "S1":
	case "S2":
		small.ReadsPerSecond, small.UpdatesPerSecond = max(100, 10*units), max(50, 5*units)
		small.DailyMessages = 6_000_000 * int64(t.Units)
	case "S3":
		return Limits{
			ReadsPerSecond: 500 * units, UpdatesPerSecond: 250 * units, QueriesPerMinute: 1000 * units, RegistryPerMinute: 5000 * units,
			DailyMessages: 300_000_000 * int64(t.Units), MessageBytes: fullMessage,
		}, nil
	default:
		return Limits{}, fmt.Errorf("tier %q is unknown: IoT Hub sells F1, S1, S2 and S3 with twins", t.SKU)
	}
	return small, nil
}

// S1 is a hub of one S1 unit, the smallest that is paid for.
func S1() Limits {
	return Limits{
		ReadsPerSecond: 100, UpdatesPerSecond: 50, QueriesPerMinute: 20, RegistryPerMinute: 100,
		DailyMessages: 400_000, MessageBytes: fullMessage,
	}
}

// Share is so many percent of each rate and of the daily messages.
func (l Limits) Share(ratePercent, dailyMessagesPercent int) Limits {
	rate := float64(ratePercent) / 100
	l.ReadsPerSecond *= rate
	l.UpdatesPerSecond *= rate
	l.QueriesPerMinute *= rate
	l.RegistryPerMinute *= rate
	l.DailyMessages = l.DailyMessages * int64(dailyMessagesPercent) / 100
	return l
}

// Messages is how many messages are billed for a payload: one at least.
func (l Limits) Messages(bytes int) int64 {
	size := max(1, l.MessageBytes)
	return max(1, (int64(bytes)+size-1)/size)
}

// Or takes what is not set from other limits.
func (l Limits) Or(other Limits) Limits {
	return l.merged(other, func(own, fallback float64) float64 {
		if own > 0 {
			return own
		}
		return fallback
	})
}

// Stricter is the smaller of each of two limits.
func (l Limits) Stricter(other Limits) Limits {
	return l.merged(other, func(a, b float64) float64 { return min(a, b) })
}

func (l Limits) merged(other Limits, pick func(a, b float64) float64) Limits {
	return Limits{
		ReadsPerSecond:    pick(l.ReadsPerSecond, other.ReadsPerSecond),
		UpdatesPerSecond:  pick(l.UpdatesPerSecond, other.UpdatesPerSecond),
		QueriesPerMinute:  pick(l.QueriesPerMinute, other.QueriesPerMinute),
		RegistryPerMinute: pick(l.RegistryPerMinute, other.RegistryPerMinute),
		// Well below 2⁵³, so that nothing is lost.
		DailyMessages: int64(pick(float64(l.DailyMessages), float64(other.DailyMessages))),
		MessageBytes:  int64(pick(float64(l.MessageBytes), float64(other.MessageBytes))),
	}
}

// Kind is what a permit is for. Each kind has its own places in flight.
type Kind int

const (
	// Reconciles of single twins, which are short.
	Reconciles Kind = iota
	// Evaluations of queries, which may take many pages: no reconcile waits for them.
	Evaluations
	// Questions that a person waits for: they wait for no evaluation.
	Questions
	kinds
)

// evaluationsInFlight is how many evaluations may be under way at once. More are no faster
// at the rate of queries; one at a time would have small ones wait for a large one.
const evaluationsInFlight = 4

// questionsInFlight is how many questions may be under way at once.
const questionsInFlight = 4

const (
	// minInFlight lets a hub of few updates be used by more than one at a time.
	minInFlight = 4
	// inFlightTime is how long an update takes at the worst before the hub begins to
	// queue: as many as are allowed in that time may be under way.
	inFlightTime = 0.2 // seconds
)

// inFlight is how many reconciles may be under way at once.
func (l Limits) inFlight() int {
	return max(minInFlight, int(math.Ceil(l.UpdatesPerSecond*inFlightTime-whole)))
}

// The seconds' worth of a class that may come at once. IoT Hub documents none; a hub was
// seen to do 2.5 times a limit's amount before it began to queue, which is what twin
// operations may use of it. Those with a limit for a minute have half a minute's.
const (
	twinWindow   = 2.5
	minuteWindow = 30
)

// rates are the limits per second by class, and windows how many seconds' worth of it
// may come at once.
func (l Limits) rates() (rates, windows [classes]float64) {
	rates = [classes]float64{l.ReadsPerSecond, l.UpdatesPerSecond, l.QueriesPerMinute / 60, l.RegistryPerMinute / 60}
	return rates, [classes]float64{twinWindow, twinWindow, minuteWindow, minuteWindow}
}
