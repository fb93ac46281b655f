package dispatch

import "time"

// Backlog is who waits for a permit.
type Backlog struct {
	Parked int
	// EndsIn is how long they take at the rate that is to be had now.
	EndsIn time.Duration
}

// Backlog tells how many wait through this share, and for how long about.
func (s *Share) Backlog() (b Backlog) {
	s.locked(func(d *Dispatcher, now time.Time) { b = s.backlog(d, now) })
	return b
}

func (s *Share) backlog(d *Dispatcher, now time.Time) Backlog {
	var own, all Need
	parked := 0
	for kind := range d.queues {
		n, need := d.queues[kind].of(s)
		parked += n
		for class := range need {
			own[class] += need[class]
			all[class] += d.queues[kind].total[class]
		}
	}
	if parked == 0 {
		return Backlog{}
	}
	ends := max(d.breaker.wait(now), s.wait(d, own, now))
	for class, bucket := range d.buckets {
		if all[class] > 0 {
			ends = max(ends, bucket.wait(all[class], now))
		}
	}
	return Backlog{Parked: parked, EndsIn: ends}
}

func (d *Dispatcher) parked() int {
	n := 0
	for kind := range d.queues {
		n += len(d.queues[kind].byKey)
	}
	return n
}

// held is how many permits are given and not given back.
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
	// UsedPercent rounded up to 1, 2, 5, and then in steps of 10.
	UsedPercent int
	// PerHour is how many may be used an hour for the rest of the day.
	PerHour  float64
	Pressure Pressure
}

// Messages tells how many messages are used and left: of the hub's for the share that
// rules it, and of its own for another one.
func (s *Share) Messages() (m Messages) {
	s.locked(func(d *Dispatcher, now time.Time) {
		if !s.limited(d) {
			m = d.meter.messages(now)
			return
		}
		if m = s.used.messages(now); d.meter.exceeded {
			m.Pressure, m.PerHour = QuotaExceeded, 0
		}
	})
	return m
}

func (m *meter) messages(now time.Time) Messages {
	pressure := m.pressure(now)
	return Messages{
		Day: m.today.Format(time.DateOnly), Used: m.total(), Limit: m.limit,
		UsedPercent: m.percent(), PerHour: m.perHour(now), Pressure: pressure,
	}
}

// Restore takes over the percent of a day's messages that an earlier process told of this
// share. It counts for the hub while the share rules it.
func (s *Share) Restore(day string, usedPercent int) {
	s.locked(func(d *Dispatcher, now time.Time) {
		s.used.restore(now, day, usedPercent)
		if !s.limited(d) {
			d.meter.startDay(now)
			d.meter.before = s.used.before
		}
	})
}

// Idle tells that forgetting the dispatcher loses nothing but the count of messages:
// all it could hand out is there, and no request waits.
func (d *Dispatcher) Idle() (idle bool) {
	d.locked(func(now time.Time) {
		idle = d.held() == 0 && d.parked() == 0
		for class, b := range d.buckets {
			idle = idle && b.full(now) && len(d.rings[class]) == 0
		}
	})
	return idle
}

// Rate is the rate of a class in effect, and how much of the declared one that is.
type Rate struct {
	PerSecond, Factor float64
}

// Rate tells how fast a class may go now.
func (s *Share) Rate(class Class) (rate Rate) {
	s.locked(func(d *Dispatcher, _ time.Time) {
		b := d.buckets[class]
		rate = Rate{PerSecond: b.effective(), Factor: b.factor}
		if s.limited(d) {
			rate.PerSecond = min(rate.PerSecond, s.own[class].effective())
		}
	})
	return rate
}

// snapshot is everything the metrics tell.
type snapshot struct {
	Counts
	parked, inFlight, cap int
	breaker               string
	factors               [classes]float64
	used, limit           int64
}

func (d *Dispatcher) snapshot() (s snapshot) {
	d.locked(func(now time.Time) {
		s = snapshot{
			Counts: d.count, parked: d.parked(), inFlight: d.held(), cap: d.places[Reconciles] + d.places[Evaluations] + d.places[Questions],
			breaker: d.breaker.state(now), used: d.meter.messages(now).Used, limit: d.meter.limit,
		}
		for class, b := range d.buckets {
			s.factors[class] = b.factor
		}
	})
	return s
}
