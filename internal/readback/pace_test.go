package readback

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestHowFarIntervalsAreStretched by the day's messages and by how long looks take.
func TestHowFarIntervalsAreStretched(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		interval, sweep time.Duration
		times           int
		look, lookAtAll time.Duration
		want            State
	}{
		"as declared": {
			time.Minute, time.Hour, 1, time.Second, time.Minute,
			State{Interval: time.Minute, FullSweep: time.Hour},
		},
		"for the messages": {
			time.Minute, time.Hour, 4, time.Second, time.Minute,
			State{Interval: 4 * time.Minute, FullSweep: 4 * time.Hour, Stretched: forMessages},
		},
		"not beyond an hour and a day": {
			time.Minute, time.Hour, 64, 0, 0,
			State{Interval: time.Hour, FullSweep: 24 * time.Hour, Stretched: forMessages},
		},
		"what is declared longer stays": {
			2 * time.Hour, 48 * time.Hour, 64, 0, 0,
			State{Interval: 2 * time.Hour, FullSweep: 48 * time.Hour},
		},
		"one of two": {
			2 * time.Hour, 3 * time.Hour, 2, 0, 0,
			State{Interval: 2 * time.Hour, FullSweep: 6 * time.Hour, Stretched: forMessages},
		},
		"for looks that take long": {
			10 * time.Second, time.Minute, 1, 11 * time.Second, 100 * time.Second,
			State{Interval: 12 * time.Second, FullSweep: 112 * time.Second, Stretched: forLooks + "; " + forSweeps},
		},
		"for both, whatever is longer": {
			10 * time.Second, time.Minute, 2, 11 * time.Second, 121 * time.Second,
			State{Interval: 20 * time.Second, FullSweep: 128 * time.Second, Stretched: forMessages + "; " + forSweeps},
		},
		"a look that just fits": {
			time.Minute, time.Hour, 1, 58 * time.Second, time.Hour,
			State{Interval: time.Minute, FullSweep: time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			state := stateOf(Settings{Interval: tt.interval, FullSweep: tt.sweep}, tt.times, tt.look, tt.lookAtAll)
			g.Expect(state).To(Equal(tt.want))
			g.Expect(len(state.Stretched)).To(BeNumerically("<=", 256), "the schema's bound")
		})
	}
	g := NewWithT(t)
	g.Expect(len(forMessages+forLooks+forSweeps)+4).To(BeNumerically("<=", 256), "the schema's bound")
}

func TestHowLongThingsTakeIsToldSteadily(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := time.Now()
	var l lasting
	for _, step := range []struct {
		took, after, want time.Duration
	}{
		{90 * time.Second, 0, 90 * time.Second},
		{80 * time.Second, time.Minute, 90 * time.Second},
		{91 * time.Second, time.Minute, 91 * time.Second},
		{time.Second, lastingFor - time.Second, 91 * time.Second},
		{time.Second, time.Second, time.Second},
	} {
		now = now.Add(step.after)
		l.note(step.took, now)
		g.Expect(l.longest).To(Equal(step.want))
	}
	for d, want := range map[time.Duration]time.Duration{
		0: 0, time.Millisecond: time.Second, 7 * time.Second: 7 * time.Second, 61 * time.Second: 64 * time.Second,
		100 * time.Minute: 6144 * time.Second,
	} {
		g.Expect(rounded(d)).To(Equal(want), d.String())
	}
}

// TestADaysMessagesStretchTheIntervals, and midnight brings them back.
func TestADaysMessagesStretchTheIntervals(t *testing.T) {
	t.Parallel()
	const declared = 10 * time.Minute
	now := clocktesting.NewFakeClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	f := newFleetBy(t, now, hubemulator.Options{Devices: devices(3)},
		dispatch.Limits{DailyMessages: 480, QueriesPerMinute: 1e6, ReadsPerSecond: 1e6, UpdatesPerSecond: 1e6},
		Settings{Interval: declared, FullSweep: time.Hour})
	f.manage(devices(3)...)
	f.look(devices(3)...)
	// pass lets time pass, and counts what the hub is asked meanwhile.
	pass := func(d time.Duration) int {
		before := f.queries()
		for range d / time.Minute {
			now.Step(time.Minute)
			f.Eventually(now.HasWaiters, patience, time.Millisecond).Should(BeTrue(), "it waits for its next look")
		}
		return int(f.queries() - before)
	}
	f.Eventually(now.HasWaiters, patience, time.Millisecond).Should(BeTrue())
	f.Expect(pass(50 * time.Minute)).To(Equal(5))
	f.Expect(f.group.State(f.key)).To(Equal(State{Interval: declared, FullSweep: time.Hour}))

	for range 390 { // others' work leaves 81 for 11 hours, of 20 an hour
		f.look("device-0000")
	}
	f.Expect(f.group.State(f.key)).To(Equal(State{Interval: 2 * declared, FullSweep: 2 * time.Hour, Stretched: forMessages}))
	f.Expect(pass(2 * time.Hour)).To(Equal(6))

	for range 75 {
		f.look("device-0000")
	}
	f.Expect(f.group.State(f.key)).To(Equal(State{Interval: time.Hour, FullSweep: 24 * time.Hour, Stretched: forMessages}))
	f.Expect(pass(8 * time.Hour)).To(BeNumerically("~", 8, 1))
	f.tag("device-0001", "written all the same")

	f.Expect(pass(time.Hour+declared)).To(BeNumerically("<=", 3), "two looks, and one for what was written")
	f.Eventually(func() int { return f.documents("device-0001") }, patience, poll).Should(Equal(1), "within an interval after midnight")
	f.Expect(f.group.State(f.key)).To(Equal(State{Interval: declared, FullSweep: time.Hour}))
	f.Expect(pass(time.Hour)).To(Equal(6))
}

// TestALookThatTakesLongIsToldOf while it lasts, and for a while.
func TestALookThatTakesLongIsToldOf(t *testing.T) {
	t.Parallel()
	now := clocktesting.NewFakeClock(time.Now())
	f := newFleetBy(t, now, hubemulator.Options{Devices: devices(3)}, dispatch.Limits{QueriesPerMinute: 1e6, ReadsPerSecond: 1e6},
		Settings{Interval: time.Minute, FullSweep: time.Hour})
	f.manage(devices(3)...)
	f.look(devices(3)...)
	state := func() State { return f.group.State(f.key) }
	f.Eventually(now.HasWaiters, patience, time.Millisecond).Should(BeTrue())
	f.Expect(state()).To(Equal(State{Interval: time.Minute, FullSweep: time.Hour}))
	held := f.fault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultHold})
	now.Step(time.Minute)
	f.Eventually(func() int { return f.hits(held) }, patience, poll).Should(Equal(1))
	f.Expect(state().Stretched).To(BeEmpty())
	now.Step(100 * time.Second)
	f.Expect(state()).To(Equal(State{Interval: 112 * time.Second, FullSweep: time.Hour, Stretched: forLooks}))
	f.hub.RemoveFault(held)
	f.Eventually(now.HasWaiters, patience, time.Millisecond).Should(BeTrue(), "it is over")
	f.Expect(state().Stretched).To(Equal(forLooks))
}

// TestASweepLeavesRoomForWhatMoved at the 20 queries a minute of an S1: a report shows
// within the interval, whatever else the hub is asked meanwhile.
func TestASweepLeavesRoomForWhatMoved(t *testing.T) {
	t.Parallel()
	const (
		many     = 2500 // 25 pages
		declared = time.Minute
		step     = 200 * time.Millisecond
	)
	now := clocktesting.NewFakeClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	f := newFleetBy(t, now, hubemulator.Options{Devices: devices(many), Clock: now},
		dispatch.Limits{QueriesPerMinute: dispatch.S1().QueriesPerMinute, ReadsPerSecond: 1e6, DailyMessages: 1e9},
		Settings{Interval: declared, FullSweep: 2 * time.Minute})
	now.Step(20 * time.Minute) // so that what was written since is little
	f.report("device-0000", 0)
	f.manage(devices(many)...)
	f.look(devices(many)...)
	// pass lets time pass until something holds, and returns how long that took.
	pass := func(atMost time.Duration, holds func() bool) time.Duration {
		t.Helper()
		for passed := time.Duration(0); passed < atMost; passed += step {
			if holds() {
				return passed
			}
			now.Step(step)
			<-time.After(2 * time.Millisecond) // of the real clock: the hub really answers
		}
		return atMost
	}
	keeper := func() *poller {
		f.group.mu.Lock()
		defer f.group.mu.Unlock()
		return f.group.hubs[f.key].poller
	}()
	sweeping := func() bool {
		keeper.mu.Lock()
		defer keeper.mu.Unlock()
		return !keeper.sweepTimes[hub.Devices].began.IsZero()
	}
	marked := func() bool { return f.group.State(f.key).Interval > 0 && !sweeping() && f.queries() >= 26 }
	f.Expect(pass(5*time.Minute, marked)).To(BeNumerically("<", 5*time.Minute), "the first look at all")

	f.Expect(pass(5*time.Minute, sweeping)).To(BeNumerically("<", 5*time.Minute))
	f.Expect(pass(5*time.Minute, func() bool { return !sweeping() })).To(BeNumerically(">=", 24*6*time.Second), "half of the rate is left")
	f.Expect(f.group.State(f.key)).To(And(
		HaveField("FullSweep", BeNumerically(">=", 24*6*time.Second)),
		HaveField("Stretched", HaveSuffix(forSweeps)),
	))

	// Forty TwinQueries of many pages ask all the time.
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 40)
	for range cap(ended) {
		go func() {
			for ctx.Err() == nil {
				_, _, _ = hub.IDs(ctx, f.session, hub.Selection{From: hub.Devices, Where: "STARTSWITH(deviceId, 'device')"}, 0)
			}
			ended <- ctx.Err()
		}()
	}
	seen := 0
	for i := range 5 {
		f.Expect(pass(10*time.Minute, sweeping)).To(BeNumerically("<", 10*time.Minute))
		pass(time.Duration(i)*11*time.Second, func() bool { return false }) // at another moment each time
		f.report("device-0001", i)
		took := pass(5*time.Minute, func() bool { return f.documents("device-0001") == i+1 })
		f.Expect(took).To(BeNumerically("<=", declared+30*time.Second), "an interval, and two queries of some seconds each")
		if sweeping() {
			seen++
		}
	}
	f.Expect(seen).To(BeNumerically(">=", 3), "amid a look at all")
	stop()
	for range cap(ended) {
		<-ended
	}
}
