package dispatch

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestTheLimitsOfTheTiers(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, tt := range []struct {
		tier                              Tier
		reads, updates, queries, registry float64
		messages, bytes                   int64
	}{
		{Tier{"F1", 1}, 100, 50, 20, 100, 8_000, 512},
		{Tier{"S1", 1}, 100, 50, 20, 100, 400_000, 4096},
		{Tier{"S1", 3}, 100, 50, 60, 300, 1_200_000, 4096},
		{Tier{"S2", 1}, 100, 50, 20, 100, 6_000_000, 4096},
		{Tier{"S2", 20}, 200, 100, 400, 2000, 120_000_000, 4096},
		{Tier{"S3", 2}, 1000, 500, 2000, 10000, 600_000_000, 4096},
	} {
		g.Expect(tt.tier.Limits()).To(Equal(Limits{tt.reads, tt.updates, tt.queries, tt.registry, tt.messages, tt.bytes}), "%v", tt.tier)
	}
	g.Expect(Tier{"S1", 1}.Limits()).To(Equal(S1()))
	for _, tier := range []Tier{{"B1", 1}, {"S1", 0}} {
		_, err := tier.Limits()
		g.Expect(err).To(HaveOccurred())
	}
	half := S1().Share(50, 20)
	g.Expect(half).To(Equal(Limits{50, 25, 10, 50, 80_000, 4096}))
	g.Expect(Limits{ReadsPerSecond: 7}.Or(half)).To(Equal(Limits{7, 25, 10, 50, 80_000, 4096}))
	g.Expect(half.Stricter(S1().Share(80, 10))).To(Equal(Limits{50, 25, 10, 50, 40_000, 4096}))
}

func TestMessagesAreCountedByTheirSizeAndADayEndsAtMidnight(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 1000, MessageBytes: 512}, 0)
	for _, answer := range []Answer{
		{Class: Reads, Status: 200},                  // 1
		{Class: Reads, Status: 200, Bytes: 512},      // 1
		{Class: Updates, Status: 412, Bytes: 513},    // 2
		{Class: Queries, Status: 200, Bytes: 51_200}, // 100
		{Class: Registry, Status: 200, Bytes: 51_200},
		{Class: Reads, Status: 429, Bytes: 51_200, RetryAfter: time.Second},
		{Class: Reads, Status: 503, Bytes: 51_200},
		{Class: Reads},
	} {
		y.Answered(answer)
	}
	m := y.Messages()
	y.Expect(m.Used).To(BeEquivalentTo(104))
	y.Expect(m.UsedPercent).To(Equal(20), "by steps of ten, rounded up")
	y.Expect(m.Day).To(Equal("2026-11-24"))
	y.Expect(m.PerHour).To(BeNumerically("~", 896.0/12, 1e-9))
	y.after(12*time.Hour - time.Nanosecond)
	y.Expect(y.Messages().Used).To(BeEquivalentTo(104))
	y.after(time.Nanosecond)
	m = y.Messages()
	y.Expect(m.Day).To(Equal("2026-11-25"))
	y.Expect(m.Used).To(BeZero())
	y.Expect(m.UsedPercent).To(BeZero())
	y.Expect(m.PerHour).To(BeNumerically("~", 1000.0/24, 1e-9))
}

func (y *yard) use(messages int) {
	for range messages {
		y.Answered(Answer{Class: Reads, Status: 200})
	}
}

func TestThePressureComesAndGoes(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 2400}, 0)
	pressure := func() Pressure { return y.Messages().Pressure }
	y.Expect(pressure()).To(Equal(NoPressure))
	y.use(1800)
	y.Expect(pressure()).To(Equal(NoPressure), "600 for 12 hours: half of an even pace")
	y.use(1)
	y.Expect(pressure()).To(Equal(MessagesLow))
	y.after(2 * time.Hour)
	y.Expect(y.Messages().PerHour).To(BeNumerically("~", 59.9, 0.001))
	y.Expect(pressure()).To(Equal(MessagesLow), "not yet enough again")
	y.after(time.Hour)
	y.Expect(pressure()).To(Equal(NoPressure))
	y.use(599)
	y.Expect(pressure()).To(Equal(MessagesUsed))
	y.Expect(y.Messages().PerHour).To(BeZero())
	y.use(1000)
	y.Expect(y.Messages().UsedPercent).To(Equal(150), "edits go through")
	y.Expect(y.ask("edit", 0, WriteNeed)).NotTo(BeNil())
	y.Answered(Answer{Class: Reads, Status: 403, QuotaExceeded: true})
	y.Expect(pressure()).To(Equal(QuotaExceeded))
	y.after(9 * time.Hour)
	y.Expect(pressure()).To(Equal(NoPressure), "a new day")
	y.Answered(Answer{Class: Reads, Status: 403, QuotaExceeded: true})
	y.Expect(y.Messages().PerHour).To(BeZero())
	y.use(1)
	y.Expect(pressure()).To(Equal(NoPressure), "units were bought")
	y.after(24*time.Hour - time.Second)
	y.Expect(y.Messages().PerHour).To(BeNumerically("<=", 2400*60), "the last second is no reason to haste")
}

func TestTheCountSurvivesARestart(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 1000}, 0)
	y.Restore("2026-11-23", 90)
	y.Expect(y.Messages().Used).To(BeZero(), "that was yesterday")
	y.use(42)
	y.Restore("2026-11-24", 30)
	y.Expect(y.Messages().Used).To(BeEquivalentTo(250))
	y.Restore("2026-11-24", 10)
	y.Expect(y.Messages().Used).To(BeEquivalentTo(250), "it never goes back")
	y.Expect(y.Messages().UsedPercent).To(Equal(30))
}

// TestRestartsDoNotUseUpTheDay, however many there are.
func TestRestartsDoNotUseUpTheDay(t *testing.T) {
	t.Parallel()
	percent := 0
	for range 20 {
		y := newYard(t, Limits{DailyMessages: 1000}, 0)
		y.Restore("2026-11-24", percent)
		y.use(1)
		percent = y.Messages().UsedPercent
		y.Expect(percent).To(Equal(1))
	}
}

// TestLittleUseIsToldAsLittle: of the daily share of a free hub, sixty calls are not a
// tenth.
func TestLittleUseIsToldAsLittle(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{DailyMessages: 4000}, 0)
	told := func() int { return y.Messages().UsedPercent }
	y.Expect(told()).To(BeZero())
	for _, step := range []struct{ more, percent int }{{40, 1}, {20, 2}, {20, 2}, {1, 5}, {119, 5}, {1, 10}, {199, 10}, {1, 20}} {
		y.use(step.more)
		y.Expect(told()).To(Equal(step.percent), "%d of 4000", y.Messages().Used)
	}
	for told, middle := range map[int]int64{1: 20, 2: 60, 5: 140, 10: 300, 20: 600} {
		restarted := newYard(t, Limits{DailyMessages: 4000}, 0)
		restarted.Restore("2026-11-24", told)
		restarted.Expect(restarted.Messages().Used).To(Equal(middle))
		restarted.Expect(restarted.Messages().UsedPercent).To(Equal(told))
	}
}
