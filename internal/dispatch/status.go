package dispatch

import "time"

// Backlog is who waits for a turn.
type Backlog struct {
	Parked int
	// EndsIn is how long they take at the rate that is to be had now.
	EndsIn time.Duration
}

// Backlog tells how many wait, and for how long about.
func (d *Dispatcher) Backlog() (b Backlog) {
	d.locked(func(now time.Time) { b = d.backlog(now) })
	return b
}

func (d *Dispatcher) backlog(now time.Time) Backlog {
	parked := d.parked()
	if parked == 0 {
		return Backlog{}
	}
	ends := d.breaker.wait(now)
	for class, bucket := range d.buckets {
		n := 0
		for kind := range d.lots {
			n += d.lots[kind].total[class]
		}
		if n > 0 {
			ends = max(ends, bucket.wait(n, now))
		}
	}
	return Backlog{Parked: parked, EndsIn: ends}
}

func (d *Dispatcher) parked() int {
	n := 0
	for kind := range d.lots {
		n += len(d.lots[kind].byKey)
	}
	return n
}

// held is how many grants are given and not given back.
func (d *Dispatcher) held() int {
	n := 0
	for _, held := range d.inFlight {
		n += held
	}
	return n
}

// Messages is the use of the hub's daily messages.
type Messages struct {
	// Day from 00:00 UTC, as 2006-01-02.
	Day string
	// Used of Limit by this process, and before it as far as it was told.
	Used, Limit int64
	// UsedPercent in steps of 10, rounded up.
	UsedPercent int
	// PerHour is how many may be used an hour for the rest of the day.
	PerHour  float64
	Pressure Pressure
}

// Messages tells how many messages are used and left.
func (d *Dispatcher) Messages() (m Messages) {
	d.locked(func(now time.Time) { m = d.messages(now) })
	return m
}

func (d *Dispatcher) messages(now time.Time) Messages {
	pressure := d.meter.pressure(now)
	return Messages{
		Day: d.meter.today.Format(time.DateOnly), Used: d.meter.used, Limit: d.meter.limit,
		UsedPercent: d.meter.percent(), PerHour: d.meter.perHour(now), Pressure: pressure,
	}
}

// Restore takes over the percent of a day's messages that an earlier process told of.
func (d *Dispatcher) Restore(day string, usedPercent int) {
	d.locked(func(now time.Time) { d.meter.restore(now, day, usedPercent) })
}

// Idle tells that forgetting the dispatcher loses nothing but the count of messages:
// all it could hand out is there, and nobody waits.
func (d *Dispatcher) Idle() (idle bool) {
	d.locked(func(now time.Time) {
		idle = d.held() == 0 && d.parked() == 0
		for class, b := range d.buckets {
			idle = idle && b.full(now) && d.waiting[class].len() == 0
		}
	})
	return idle
}

// Rate is the rate of a class in effect, and how much of the declared one that is.
type Rate struct {
	PerSecond, Factor float64
}

// Rate tells how fast a class may go now.
func (d *Dispatcher) Rate(class Class) (rate Rate) {
	d.locked(func(time.Time) {
		b := d.buckets[class]
		rate = Rate{PerSecond: b.effective(), Factor: b.factor}
	})
	return rate
}

// snapshot is everything the metrics tell.
type snapshot struct {
	Counts
	parked, inFlight, cap int
	breaker               string
	factors               [classes]float64
	used                  int64
}

func (d *Dispatcher) snapshot() (s snapshot) {
	d.locked(func(now time.Time) {
		s = snapshot{
			Counts: d.count, parked: d.parked(), inFlight: d.held(), cap: d.places[Visits] + d.places[Questions],
			breaker: d.breaker.state(now), used: d.messages(now).Used,
		}
		for class, b := range d.buckets {
			s.factors[class] = b.factor
		}
	})
	return s
}
