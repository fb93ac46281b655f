package throttle_test

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

var start = time.Date(2026, 11, 20, 22, 0, 0, 0, time.UTC)

func newLimits(t *testing.T, tier string, units int) (*throttle.Limits, *testclock.FakeClock) {
	t.Helper()
	clock := testclock.NewFakeClock(start)
	limits, err := throttle.New(tier, units, clock)
	if err != nil {
		t.Fatal(err)
	}
	return limits, clock
}

// burst is how many operations a hub admits at once before it makes one wait.
func burst(t *testing.T, limits *throttle.Limits, operationType throttle.Type) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing waits
	for n := 0; ; n++ {
		if err := limits.Admit(ctx, operationType, 1); err != nil {
			NewWithT(t).Expect(err).To(MatchError(context.Canceled))
			return n
		}
	}
}

func TestWaitIsNeverRefused(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	limits, clock := newLimits(t, "F1", 1)
	g.Expect(limits.Admit(t.Context(), throttle.JobDevice, 25)).To(Succeed())
	ctx, cancel := context.WithCancelCause(t.Context())
	waited := make(chan error)
	for range 40 {
		go func() { waited <- limits.Wait(ctx, throttle.JobDevice) }()
	}
	g.Eventually(clock.Waiters).Should(Equal(40))
	for range 39 {
		clock.Step(100 * time.Millisecond)
		g.Eventually(waited).Should(Receive(Succeed()))
	}
	g.Expect(waited).NotTo(Receive(), "each has a turn of its own")
	over := errors.New("over")
	cancel(over)
	g.Eventually(waited).Should(Receive(MatchError(over)))
	g.Expect((*throttle.Limits)(nil).Wait(t.Context(), throttle.JobDevice)).To(Succeed())
}

func TestRates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tier      string
		units     int
		operation throttle.Type
		amount    float64
		per       time.Duration
	}{
		{"F1", 1, throttle.TwinRead, 100, time.Second},
		{"F1", 1, throttle.TwinUpdate, 50, time.Second},
		{"F1", 1, throttle.QueryTwins, 20, time.Minute},
		{"F1", 1, throttle.RegistryRead, 100, time.Minute},
		{"F1", 1, throttle.DeviceConnect, 100, time.Second},
		{"F1", 1, throttle.DeviceSend, 100, time.Second},
		{"F1", 1, throttle.DirectMethod, 40, time.Second},
		{"F1", 1, throttle.JobWrite, 100, time.Minute},
		{"F1", 1, throttle.CommandSend, 100, time.Minute},
		{"F1", 1, throttle.JobDevice, 10, time.Second},
		{"S1", 20, throttle.CommandSend, 2000, time.Minute},
		{"S1", 20, throttle.JobDevice, 10, time.Second},
		{"S2", 2, throttle.CommandSend, 200, time.Minute},
		{"S2", 2, throttle.JobDevice, 10, time.Second},
		{"S2", 30, throttle.JobDevice, 30, time.Second},
		{"S3", 2, throttle.CommandSend, 10_000, time.Minute},
		{"S3", 2, throttle.JobDevice, 100, time.Second},
		{"F1", 1, throttle.ConfigurationWrite, 20, time.Minute},
		{"S1", 10, throttle.TwinRead, 100, time.Second},
		{"S1", 10, throttle.QueryTwins, 200, time.Minute},
		{"S1", 10, throttle.RegistryWrite, 1000, time.Minute},
		{"S1", 10, throttle.DeviceConnect, 120, time.Second},
		{"S2", 1, throttle.TwinRead, 100, time.Second},
		{"S2", 20, throttle.TwinRead, 200, time.Second},
		{"S2", 20, throttle.TwinUpdate, 100, time.Second},
		{"S2", 1, throttle.DeviceConnect, 120, time.Second},
		{"S2", 1, throttle.DirectMethod, 120, time.Second},
		{"S3", 2, throttle.TwinRead, 1000, time.Second},
		{"S3", 2, throttle.TwinUpdate, 500, time.Second},
		{"S3", 1, throttle.QueryTwins, 1000, time.Minute},
		{"S3", 1, throttle.RegistryRead, 5000, time.Minute},
		{"S3", 1, throttle.JobRead, 5000, time.Minute},
		{"S3", 1, throttle.ConfigurationRead, 20, time.Minute},
	} {
		g := NewWithT(t)
		limits, clock := newLimits(t, tt.tier, tt.units)
		g.Expect(burst(t, limits, tt.operation)).To(Equal(int(2.5*tt.amount)), "%s × %d, %s", tt.tier, tt.units, tt.operation)
		clock.Step(tt.per / 10)
		g.Expect(burst(t, limits, tt.operation)).To(BeNumerically("~", tt.amount/10, 1), "%s × %d, %s", tt.tier, tt.units, tt.operation)
	}
}

func TestShaping(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	limits, clock := newLimits(t, "S1", 1)
	g.Expect(burst(t, limits, throttle.TwinUpdate)).To(Equal(125), "two and a half times the limit pass at once")

	outcomes := make(chan error, 1)
	admit := func() { outcomes <- limits.Admit(t.Context(), throttle.TwinUpdate, 1) }
	go admit()
	g.Eventually(clock.HasWaiters).Should(BeTrue())
	clock.Step(19 * time.Millisecond)
	g.Consistently(outcomes, "20ms").ShouldNot(Receive(), "then there are 50 a second")
	clock.Step(time.Millisecond)
	g.Eventually(outcomes).Should(Receive(BeNil()))

	ctx, leave := context.WithCancel(t.Context())
	queued := make(chan error, 1000)
	for range 176 { // three and a half seconds' worth, and one more
		go func() { queued <- limits.Admit(ctx, throttle.TwinUpdate, 1) }()
	}
	var refusal error
	g.Eventually(queued).Should(Receive(&refusal))
	g.Consistently(queued, "20ms").ShouldNot(Receive(), "one is refused and all others wait")
	g.Expect(refusal).To(Equal(&store.Error{
		Status: 429, Number: 429003, Code: "ThrottlingBacklogTimeout",
		Text: "The request has been throttled. Wait 10 seconds and try again. Operation type: TwinUpdate",
	}))
	g.Expect(limits.Admit(t.Context(), throttle.TwinRead, 1)).To(Succeed(), "another throttle")
	leave()
	for range 175 {
		g.Eventually(queued).Should(Receive(MatchError(context.Canceled)))
	}
	clock.Step(time.Minute)
	g.Expect(limits.Admit(t.Context(), throttle.TwinUpdate, 1)).To(Succeed())
}

func TestSharesOfOneThrottle(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	limits, _ := newLimits(t, "F1", 0)
	g.Expect(limits.Admit(t.Context(), throttle.RegistryWrite, 100)).To(Succeed())
	g.Expect(limits.Admit(t.Context(), throttle.RegistryRead, 100)).To(Succeed())
	g.Expect(limits.Admit(t.Context(), throttle.RegistryWrite, 100)).To(MatchError(ContainSubstring("Operation type: RegistryWrite")),
		"a bulk operation takes as many shares as it has entries")
	g.Expect(limits.Admit(t.Context(), throttle.RegistryRead, 50)).To(Succeed(), "a refused one takes none")
	g.Expect(limits.Admit(t.Context(), throttle.RegistryRead, 1_000)).To(MatchError(ContainSubstring("throttled")), "more than fits at all")
	g.Expect(limits.Admit(t.Context(), throttle.PurgeCommands, 1_000)).To(Succeed(), "not throttled")
}

func TestQuota(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	limits, clock := newLimits(t, "F1", 1)
	for size, messages := range map[int]int64{0: 1, 1: 1, 512: 1, 513: 2, 1229: 3} {
		g.Expect(limits.Bill(size)).To(Equal(messages), "%d bytes", size)
	}
	g.Expect(limits.Bill(600, 10)).To(Equal(int64(3)), "each payload by itself")
	quota, limited := limits.Quota()
	g.Expect(limited).To(BeTrue())
	g.Expect(quota).To(Equal(throttle.Quota{Limit: 8000, Used: 11}))

	g.Expect(limits.Bill((8000 - 12) * 512)).To(Equal(int64(7988)))
	g.Expect(limits.CheckQuota()).To(Succeed(), "one is left")
	limits.Bill(5 * 512)
	var refusal *store.Error
	g.Expect(errors.As(limits.CheckQuota(), &refusal)).To(BeTrue())
	g.Expect(refusal.Status).To(Equal(403))
	g.Expect(refusal.Number).To(Equal(403002))
	g.Expect(refusal.Code).To(Equal("IotHubQuotaExceeded"))

	clock.SetTime(time.Date(2026, 11, 20, 23, 59, 59, 999, time.UTC))
	g.Expect(limits.CheckQuota()).NotTo(Succeed())
	clock.SetTime(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	g.Expect(limits.CheckQuota()).To(Succeed())
	quota, _ = limits.Quota()
	g.Expect(quota.Used).To(BeZero())
}

func TestQuotaOfTiers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tier  string
		units int
		limit int64
	}{{"F1", 1, 8_000}, {"S1", 3, 1_200_000}, {"S2", 2, 12_000_000}, {"S3", 10, 3_000_000_000}} {
		g := NewWithT(t)
		limits, _ := newLimits(t, tt.tier, tt.units)
		quota, _ := limits.Quota()
		g.Expect(quota.Limit).To(Equal(tt.limit))
		if tt.tier != "F1" {
			g.Expect(limits.Bill(4096)).To(Equal(int64(1)))
			g.Expect(limits.Bill(4097)).To(Equal(int64(2)))
		}
	}
}

func TestNoLimits(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	limits, err := throttle.New("", 0, testclock.NewFakeClock(start))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(limits.Admit(t.Context(), throttle.QueryTwins, 1_000_000)).To(Succeed())
	g.Expect(limits.Bill(1<<40)).To(Equal(int64(1<<28)), "metered all the same")
	g.Expect(limits.CheckQuota()).To(Succeed())
	_, limited := limits.Quota()
	g.Expect(limited).To(BeFalse())
}

func TestInvalidTiers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tier    string
		units   int
		problem string
	}{
		{"", 1, "units are set without a tier"},
		{"B1", 1, `tier "B1" is unknown; use F1, S1, S2 or S3`},
		{"F1", 2, "2 units of tier F1 cannot be had; use 1 to 1"},
		{"S1", 201, "use 1 to 200"},
		{"S3", 11, "use 1 to 10"},
		{"S2", -1, "use 1 to 200"},
	} {
		_, err := throttle.New(tt.tier, tt.units, testclock.NewFakeClock(start))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.problem)))
	}
}
