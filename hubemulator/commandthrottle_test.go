package hubemulator_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// numbered makes up so many ids.
func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("d%03d", i)
	}
	return ids
}

func TestThrottleOfCommands(t *testing.T) {
	t.Parallel()
	for tier, perMinute := range map[string]int{"F1": 100, "S1": 100, "S2": 100, "S3": 5000} {
		t.Run(tier, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			devices := numbered(perMinute*5/2/50 + 1)
			h := startTier(t, hubemulator.Options{Tier: tier, Devices: devices})
			for i := range perMinute * 5 / 2 {
				g.Expect(h.server.SendToDevice(devices[i/50], hubemulator.DeviceMessage{})).To(Succeed())
			}
			last := devices[len(devices)-1]
			sent := make(chan error, 1)
			go func() { sent <- h.server.SendToDevice(last, hubemulator.DeviceMessage{}) }()
			g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue(), "a burst passes, the next one waits")
			g.Expect(sent).NotTo(Receive())
			h.clock.Step(time.Minute / time.Duration(perMinute))
			g.Eventually(sent, patience).Should(Receive(Succeed()))
		})
	}
}

func TestThrottledCommands(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "F1", Devices: numbered(6)})
	for i := range 250 {
		g.Expect(h.server.SendToDevice(fmt.Sprintf("d%03d", i/50), hubemulator.DeviceMessage{})).To(Succeed())
	}
	// Five wait, which takes 0.6 seconds each, and a client of the admin API
	// that gives up frees its place.
	ctx, giveUp := context.WithCancel(t.Context())
	document := `{"body":"` + base64.StdEncoding.EncodeToString([]byte("x")) + `"}`
	admin := func(ctx context.Context) (int, error) {
		request := must(http.NewRequestWithContext(ctx, http.MethodPost, h.server.AdminURL()+"/devices/d005/commands", strings.NewReader(document)))
		request.Header.Set("Content-Type", "application/json")
		answer, err := h.client.http.Do(request)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	results := make(chan error, 10)
	go func() { _, err := admin(ctx); results <- err }()
	g.Eventually(h.clock.Waiters, patience).Should(Equal(1))
	for range 4 {
		go func() { results <- h.server.SendToDevice("d005", hubemulator.DeviceMessage{}) }()
	}
	g.Eventually(h.clock.Waiters, patience).Should(Equal(5))
	g.Expect(h.server.SendToDevice("d005", hubemulator.DeviceMessage{})).To(MatchError(And(
		ContainSubstring("429003"), ContainSubstring("Operation type: CloudToDeviceSend"))))
	g.Expect(must(admin(t.Context()))).To(Equal(http.StatusTooManyRequests))
	giveUp()
	g.Eventually(results, patience).Should(Receive(MatchError(context.Canceled)))
	g.Eventually(h.clock.Waiters, patience).Should(Equal(4))
	// Those who still wait end with the hub.
	g.Expect(h.server.Close()).To(Succeed())
	for range 4 {
		g.Eventually(results, patience).Should(Receive(MatchError(context.Canceled)))
	}
}
