package dispatch

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// TestHowFarReadingBackIsSlowedDown by what is left of an even pace.
func TestHowFarReadingBackIsSlowedDown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before int
		left   float64
		want   int
	}{
		"a fresh day":                     {0, 1, 0},
		"half is enough":                  {0, 0.5, 0},
		"less than half":                  {0, 0.499, 1},
		"less than a quarter":             {0, 0.249, 2},
		"several steps at once":           {0, 0.05, 4},
		"all used":                        {0, 0, maxDoublings},
		"and it is bounded":               {maxDoublings, 0, maxDoublings},
		"half again does not end it":      {1, 0.55, 1},
		"somewhat more does":              {1, 0.6, 0},
		"a step back needs the same":      {3, 0.149, 3},
		"and is had with it":              {3, 0.15, 2},
		"several steps back":              {5, 0.31, 1},
		"more than before while not less": {1, 0.2, 2},
		"what is left of another day":     {maxDoublings, 24, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			NewWithT(t).Expect(doublings(tt.before, tt.left)).To(Equal(tt.want))
		})
	}
}

func TestReadingBackSlowsDownAtOnceAndRecoversSlowly(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 2400}, 0)
	y.Expect(y.Stretch()).To(Equal(1))
	y.use(1801)
	y.Expect(y.Stretch()).To(Equal(2), "599 for 12 hours")
	y.use(300)
	y.Expect(y.Stretch()).To(Equal(4), "299")
	y.after(2*time.Hour + 30*time.Minute)
	y.Expect(y.Stretch()).To(Equal(2), "299 for 9.5 hours")
	y.after(4*time.Hour + 29*time.Minute)
	y.Expect(y.Stretch()).To(Equal(2), "just short of enough")
	y.after(2 * time.Minute)
	y.Expect(y.Stretch()).To(Equal(1))
	y.use(150)
	y.Expect(y.Stretch()).To(Equal(2), "149 for 5 hours")
	y.after(2*time.Hour + 31*time.Minute)
	y.Expect(y.Stretch()).To(Equal(1), "for half of that")

	// Around a threshold it does not come and go.
	changes, last := 0, y.Stretch()
	for range 60 {
		y.use(1)
		y.after(time.Minute)
		if now := y.Stretch(); now != last {
			changes, last = changes+1, now
		}
	}
	y.Expect(changes).To(BeNumerically("<=", 5))

	y.use(2400)
	y.Expect(y.Stretch()).To(Equal(64))
	y.Expect(y.ask("edit", 0, WriteNeed)).NotTo(BeNil(), "changes are written all the same")
	y.after(3 * time.Hour)
	y.Expect(y.Messages().Used).To(BeZero())
	y.Expect(y.Stretch()).To(Equal(1), "a new day")
}

func TestAnotherShareIsPlannedAnew(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 1000}, 0)
	y.use(1000)
	y.Expect(y.Stretch()).To(Equal(64))
	y.SetLimits(Limits{DailyMessages: 4000})
	y.Expect(y.Stretch()).To(Equal(1), "it was raised")
	y.Answered(Answer{Class: Reads, Status: 403, QuotaExceeded: true})
	y.Expect(y.Stretch()).To(Equal(64))
	y.use(1)
	y.Expect(y.Stretch()).To(Equal(64), "one answer does not tell that the hub gives more")
	y.after(loosenAfter)
	y.Expect(y.Stretch()).To(Equal(1))
}
