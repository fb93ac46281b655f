package readback

import (
	"strings"
	"time"
)

// Settings say how often a hub is asked.
type Settings struct {
	// Interval between two queries for what moved.
	Interval time.Duration
	// FullSweep is the interval between two full sweeps.
	FullSweep time.Duration
}

// sweepShare is what a full sweep beside the others takes of the rate of queries:
// the rest is left for what moved and for TwinQueries.
const sweepShare = 0.5

// pagePause is how long such a sweep rests after each page, at a rate of queries a second.
func pagePause(rate float64) time.Duration {
	return time.Duration(float64(time.Second) / (rate * sweepShare))
}

const (
	// longestInterval and longestSweep bound what the day's messages stretch an
	// interval to, unless it is declared longer: whatever happens to a twin is seen
	// within an hour, or within a day where only a full sweep shows it.
	longestInterval = time.Hour
	longestSweep    = 24 * time.Hour
)

// stretched are the settings with as many times longer intervals, within bounds. Where
// there are none they stay as they are.
func (s Settings) stretched(times int) Settings {
	s.Interval = stretched(s.Interval, times, longestInterval)
	s.FullSweep = stretched(s.FullSweep, times, longestSweep)
	return s
}

func stretched(declared time.Duration, times int, longest time.Duration) time.Duration {
	if declared >= longest/time.Duration(times) {
		return max(declared, longest)
	}
	return declared * time.Duration(times)
}

// State is what a hub's read-back comes to.
type State struct {
	// Interval and FullSweep are how long it really takes from one to the next; 0
	// while the hub is not followed.
	Interval, FullSweep time.Duration
	// Stretched says why they are longer than declared; empty when they are not.
	Stretched string
	// Failing says what keeps the read-back from being of any use; empty when nothing
	// does.
	Failing string
	// Unreadable names some twins, managed or not, that the hub's index shows in a way
	// that cannot be used; empty when there are none.
	Unreadable string
	// Late says that the read-back is older than it should be; nil when it is not.
	Late *Lateness
}

// The reasons of State.Stretched. They do not move with the numbers.
const (
	forMessages = "today's messages would not last until 00:00 UTC otherwise"
	forLooks    = "a query for what moved takes that long"
	forSweeps   = "a full sweep takes that long"
)

// stateOf is what declared settings come to with intervals so many times as long, when
// queries take as long as they do.
func stateOf(declared Settings, times int, look, sweep time.Duration) State {
	planned := declared.stretched(times)
	state := State{Interval: lengthened(planned.Interval, look), FullSweep: lengthened(planned.FullSweep, sweep)}
	var why []string
	for _, reason := range []struct {
		text  string
		holds bool
	}{
		{forMessages, planned.Interval > declared.Interval || planned.FullSweep > declared.FullSweep},
		{forLooks, look > planned.Interval},
		{forSweeps, sweep > planned.FullSweep},
	} {
		if reason.holds {
			why = append(why, reason.text)
		}
	}
	state.Stretched = strings.Join(why, "; ")
	return state
}

// lastingFor is how long the longest of several durations is told of.
const lastingFor = 15 * time.Minute

// lengthened is an interval as it can be kept, told in steps.
func lengthened(planned, took time.Duration) time.Duration {
	if took <= planned {
		return planned
	}
	return rounded(took)
}

// lasting is how long something takes that is done again and again: the longest of a
// while, so that it does not move each time.
type lasting struct {
	longest time.Duration
	at      time.Time
}

func (l *lasting) note(took time.Duration, now time.Time) {
	if took >= l.longest || now.Sub(l.at) >= lastingFor {
		l.longest, l.at = took, now
	}
}

// rounded is a duration rounded up, by less than a second or a quarter of itself.
func rounded(d time.Duration) time.Duration {
	step := time.Second
	for 8*step <= d {
		step *= 2
	}
	return (d + step - 1).Truncate(step)
}

// paced are the settings as they can be afforded now.
func (p *poller) paced() Settings {
	session, settings := p.current()
	if session == nil {
		return settings
	}
	return settings.stretched(session.Dispatcher().Stretch())
}

// state says what the read-back comes to.
func (p *poller) state() State {
	session, settings := p.current()
	if session == nil {
		return State{}
	}
	times, now := session.Dispatcher().Stretch(), p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	look, sweep := p.deltaTime.known(now), time.Duration(0)
	for _, from := range sources {
		sweep = max(sweep, p.sweepTimes[from].known(now))
		if p.ages.bySweep[from] {
			look = max(look, p.sweepTimes[from].known(now))
		}
	}
	state := stateOf(settings, times, look, sweep)
	if p.err != nil {
		state.Failing = textOf(p.err)
	}
	state.Unreadable, state.Late = p.odd.text(), p.late(settings.stretched(times), now)
	return state
}

// duration is how long something takes, and since when it is going on.
type duration struct {
	lasting

	began time.Time // zero when it is not
	// progress is when it came on last.
	progress time.Time
}

// lasted is how long it takes; at least as long as it was going on when it came on last.
func (d *duration) lasted() time.Duration {
	if d.began.IsZero() {
		return d.longest
	}
	return max(d.longest, d.progress.Sub(d.began))
}

// rests is for how long it has not come on; 0 when it is not going on.
func (d *duration) rests(now time.Time) time.Duration {
	switch {
	case d.began.IsZero():
		return 0
	case d.progress.After(d.began):
		return now.Sub(d.progress)
	}
	return now.Sub(d.began)
}

// known is how long it takes; at least as long as it is going on already.
func (d *duration) known(now time.Time) time.Duration {
	if d.began.IsZero() {
		return d.longest
	}
	return max(d.longest, now.Sub(d.began))
}

// timed does something and notes how long it took, unless it failed.
func (p *poller) timed(d *duration, do func() error) error {
	began := p.clock.Now()
	p.mu.Lock()
	d.began = began
	p.mu.Unlock()
	err := do()
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	d.began = time.Time{}
	if err == nil {
		d.note(now.Sub(began), now)
	}
	return err
}
