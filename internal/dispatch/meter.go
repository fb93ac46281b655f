package dispatch

import (
	"math"
	"time"
)

const day = 24 * time.Hour

// meter counts the messages of a day, which ends at 00:00 UTC.
type meter struct {
	limit, size int64

	today time.Time
	used  int64
	// before this process, as far as it was told.
	before   int64
	exceeded bool // the hub itself has refused for its quota
	low      bool // less than lowShare was left, and not yet enoughShare again
}

// startDay starts from zero on a new day.
func (m *meter) startDay(now time.Time) {
	if today := now.UTC().Truncate(day); !today.Equal(m.today) {
		m.today, m.used, m.before, m.exceeded, m.low = today, 0, 0, false, false
	}
}

// total is all that was used of the day.
func (m *meter) total() int64 { return m.used + m.before }

// add counts a payload, and returns how many messages it is: one at least.
func (m *meter) add(now time.Time, bytes int) int64 {
	m.startDay(now)
	messages := Limits{MessageBytes: m.size}.Messages(bytes)
	m.used += messages
	return messages
}

// step is how coarse the used percent is told, so that a status is not written for
// each message. firstSteps are those below the first of these: a share that is hardly
// used is not to look like one that is used to a tenth.
const step = 10

var firstSteps = [...]int{0, 1, 2, 5}

// percent of the limit that is used, in steps, rounded up.
func (m *meter) percent() int {
	used := float64(m.total()) * 100 / float64(max(1, m.limit))
	for _, first := range firstSteps {
		if used <= float64(first) {
			return first
		}
	}
	return int(min(math.Ceil(used/step), 1000)) * step
}

// stepBelow is the step that a percent is above of.
func stepBelow(percent int) int {
	below := 0
	for _, first := range firstSteps {
		if first < percent {
			below = first
		}
	}
	return max(below, percent-step)
}

// restore takes over what an earlier process has told of a day: the middle of what its
// step stands for, so that neither many restarts nor none make it more than it is.
func (m *meter) restore(now time.Time, date string, percent int) {
	m.startDay(now)
	if date == m.today.Format(time.DateOnly) {
		m.before = max(m.before, m.limit*int64(percent+stepBelow(percent))/200-m.used)
	}
}

const (
	// lowShare of an even pace over the day is where pressure begins, and enoughShare
	// where it ends again: one number for both would have it come and go.
	lowShare    = 0.5
	enoughShare = 0.6
	// shortestRest bounds the pace in the last moments of a day.
	shortestRest = time.Minute
)

// perHour is how many messages may be used an hour for the rest of the day.
func (m *meter) perHour(now time.Time) float64 {
	if m.exceeded {
		return 0
	}
	rest := max(shortestRest, m.today.Add(day).Sub(now))
	return max(0, float64(m.limit-m.total())/rest.Hours())
}

// share is what may be used an hour, as a share of an even pace over the whole day.
func (m *meter) share(now time.Time) float64 {
	return m.perHour(now) / (float64(max(1, m.limit)) / day.Hours())
}

// Pressure says what is wrong with the day's messages.
type Pressure string

// The pressures of a day.
const (
	NoPressure Pressure = ""
	// MessagesLow: less than half of an even pace is left.
	MessagesLow Pressure = "low"
	// MessagesUsed: the share is used up.
	MessagesUsed Pressure = "used"
	// QuotaExceeded: the hub itself has refused, whichever client used its messages.
	QuotaExceeded Pressure = "exceeded"
)

func (m *meter) pressure(now time.Time) Pressure {
	m.startDay(now)
	left := m.share(now)
	m.low = left < lowShare || (m.low && left < enoughShare)
	switch {
	case m.exceeded:
		return QuotaExceeded
	case m.total() >= m.limit:
		return MessagesUsed
	case m.low:
		return MessagesLow
	}
	return NoPressure
}
