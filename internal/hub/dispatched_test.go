package hub

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// answering opens a session with a server whose answer can be exchanged.
func answering(t *testing.T) (*session, *http.HandlerFunc) {
	t.Helper()
	answer := page(http.StatusOK, twinD1)
	cfg := pretend(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	cfg.Limits = dispatch.Limits{MessageBytes: 512}
	return mustOpen(t, cfg), &answer
}

// TestAnAnswerCountsForTheDispatcher: what is billed, and what speaks against the rate.
func TestAnAnswerCountsForTheDispatcher(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s, answer := answering(t)
	used := func() int64 { return s.Dispatcher().Messages().Used }
	get := func() error {
		_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
		return err
	}
	g.Expect(get()).To(Succeed())
	g.Expect(used()).To(BeEquivalentTo(1))
	*answer = page(http.StatusOK, twinD1+strings.Repeat(" ", 1024))
	g.Expect(get()).To(Succeed())
	g.Expect(used()).To(BeEquivalentTo(4), "a read is billed by the answer")
	patch := Patch{Desired: map[string]any{"a": strings.Repeat("x", 512)}}
	*answer = page(http.StatusOK, twinD1)
	_, err := s.PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", patch)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(used()).To(BeEquivalentTo(6), "a change is billed by the request")

	*answer = refusal(http.StatusForbidden, "IotHubQuotaExceeded", "")
	g.Expect(ReasonOf(get())).To(Equal(ReasonQuotaExceeded))
	g.Expect(s.Dispatcher().Messages().Pressure).To(Equal(dispatch.QuotaExceeded))
	*answer = refusal(http.StatusTooManyRequests, "ThrottlingBacklogTimeout", "")
	g.Expect(ReasonOf(get())).To(Equal(ReasonThrottled))
	g.Expect(s.Dispatcher().Rate(dispatch.Reads).Factor).To(Equal(0.5))
	g.Expect(s.Dispatcher().Rate(dispatch.Updates).Factor).To(Equal(1.0))
	g.Expect(used()).To(BeEquivalentTo(6))
}

// TestAHubThatFailsIsKeptFrom, a caller that gives up is not the hub's failure.
func TestAHubThatFailsIsKeptFrom(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s, answer := answering(t)
	admit := func() bool {
		grant, ok := s.Dispatcher().Admit(dispatch.Request{Key: "a", Need: dispatch.ReadNeed})
		grant.Done()
		s.Dispatcher().Forget("a")
		return ok
	}
	gone, cancel := context.WithCancel(t.Context())
	*answer = func(http.ResponseWriter, *http.Request) { cancel(); <-gone.Done() }
	for range 6 {
		_, err := s.GetTwin(gone, ID{Device: "d1"})
		g.Expect(err).To(HaveOccurred())
	}
	g.Expect(admit()).To(BeTrue())
	*answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for range 6 {
		_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
		g.Expect(ReasonOf(err)).To(Equal(ReasonUnreachable))
	}
	g.Expect(admit()).To(BeFalse())
	*answer = func(http.ResponseWriter, *http.Request) { t.Error("the hub was asked") }
	err := s.Probe(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("trying the credential: the host could not be reached: the connection broke")))
	g.Expect(err).To(HaveField("RetryAfter", And(BeNumerically(">", 0), BeNumerically("<=", time.Second))))
	g.Expect(err).To(HaveField("Sent", false))
	g.Expect(err).To(HaveField("SecondHand", true))
	*answer = refusal(http.StatusNotFound, "DeviceNotFound", "d1")
	g.Eventually(func() error { return s.Probe(t.Context()) }, "5s").Should(Succeed(), "one tries again")
	g.Expect(admit()).To(BeTrue())
}

// TestAFailingHubIsToldOfInTheSameWords whether it was asked or not: they stand in
// conditions, and each change of one is a write.
func TestAFailingHubIsToldOfInTheSameWords(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]http.HandlerFunc{
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"fails":    refusal(http.StatusServiceUnavailable, "ServiceUnavailable", "x"),
		"a proxy":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			s, answer := answering(t)
			*answer = fails
			var asked, notAsked error
			for range 5 {
				_, asked = allIDs(t.Context(), s, Devices, "true")
			}
			*answer = func(http.ResponseWriter, *http.Request) { t.Error("the hub was asked") }
			_, notAsked = allIDs(t.Context(), s, Devices, "true")
			g.Expect(notAsked).To(MatchError(asked.Error()))
			g.Expect(ReasonOf(notAsked)).To(Equal(ReasonOf(asked)))
			_, created := s.PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": 1}})
			g.Expect(ReasonOf(created)).To(Equal(ReasonOf(asked)))
			g.Expect(OutcomeUnknown(created)).To(BeFalse(), "nothing was sent")
		})
	}
}

// TestAGrantPaysForItsRequests: what is over is waited for.
func TestAGrantPaysForItsRequests(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s, _ := answering(t)
	grant, ok := s.Dispatcher().Admit(dispatch.Request{Key: "a", Need: dispatch.WriteNeed})
	g.Expect(ok).To(BeTrue())
	ctx := dispatch.With(t.Context(), grant)
	_, err := s.GetTwin(ctx, ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(grant.Has(dispatch.Reads)).To(BeFalse())
	g.Expect(grant.Has(dispatch.Updates)).To(BeTrue())
	_, err = s.GetTwin(ctx, ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
}

// TestAnswersThatAreCutShortAreFailures: what sends them is asked no more than a hub that does not answer, and has not
// accepted the credential.
func TestAnswersThatAreCutShortAreFailures(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"cut short": twinD1[:len(twinD1)/2], "a page of a portal": "<html>Sign in</html>", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var calls atomic.Int64
			s := mustOpen(t, pretend(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				fmt.Fprint(w, body)
			}))
			for range 50 {
				_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
				g.Expect(asError(t, err).Reason).To(BeElementOf(ReasonUnexpectedAnswer, ReasonUnreachable))
			}
			g.Expect(calls.Load()).To(BeNumerically("<", 10))
			g.Expect(s.Proved()).To(BeFalse())
		})
	}
}
