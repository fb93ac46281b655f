package dispatch

import "time"

const (
	// maxDoublings bounds how far reading back is slowed down: to a 64th of its pace,
	// at which a hub that is read back once a minute is so about once an hour.
	maxDoublings = 6
	// loosenAfter is how long a stretch lasts at least: what is left of a day's
	// messages moves with each of them, and fast towards midnight.
	loosenAfter = 15 * time.Minute
)

// planner slows down the reading back when the day's messages would not last, so that
// there are some left for writes, which are never held back for them.
type planner struct {
	doublings int
	since     time.Time
	// What the plan was made for: another day or another limit starts it anew.
	day   time.Time
	limit int64
}

// plan says how often the time between two queries is doubled now. More is needed at
// once; less has to wait for loosenAfter.
func (p *planner) plan(m *meter, now time.Time) int {
	if !p.day.Equal(m.today) || p.limit != m.limit {
		*p = planner{day: m.today, limit: m.limit}
	}
	next := doublings(p.doublings, m.share(now))
	if next > p.doublings || (next < p.doublings && now.Sub(p.since) >= loosenAfter) {
		p.doublings, p.since = next, now
	}
	return p.doublings
}

// doublings follows from the share of an even pace that is left for the rest of the
// day, and from how many there were before: the first below lowShare, the second below
// half of that, and so on; each ends by as much more than it began as the pressure does.
func doublings(before int, left float64) int {
	return max(steps(left, lowShare), min(before, steps(left, enoughShare)))
}

func steps(left, first float64) int {
	n := 0
	for begin := first; n < maxDoublings && left < begin; begin /= 2 {
		n++
	}
	return n
}

// Stretch is how many times longer than declared to wait between two queries at the hub:
// 1 unless the day's messages would not last, and 64 at most.
func (s *Share) Stretch() (factor int) {
	s.locked(func(d *Dispatcher, now time.Time) {
		d.meter.startDay(now)
		doublings := d.planner.plan(&d.meter, now)
		if s.limited(d) {
			s.used.startDay(now)
			doublings = max(doublings, s.planner.plan(&s.used, now))
		}
		factor = 1 << doublings
	})
	return factor
}
