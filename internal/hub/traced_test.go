package hub

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestRequestsAreTraced by their operations, without ids of devices or anything of the credential.
func TestRequestsAreTraced(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s, answer := answering(t)
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, whole := provider.Tracer("test").Start(t.Context(), "Reconcile")

	*answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, "6c3b8f0e")
		page(http.StatusOK, twinD1)(w, r)
	}
	_, err := s.GetTwin(ctx, ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	*answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, r.Header.Get("Authorization"))
		page(http.StatusOK, twinD1)(w, r)
	}
	_, err = s.GetTwin(ctx, ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	*answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	_, err = s.GetTwin(ctx, ID{Device: "d1"})
	g.Expect(err).To(HaveOccurred())

	var calls []sdktrace.ReadOnlySpan
	waits := 0
	for _, span := range recorder.Ended() {
		if span.Name() == "permit" {
			waits++
			continue
		}
		g.Expect(span.Name()).To(Equal("getTwin"))
		g.Expect(span.Parent().SpanID()).To(Equal(whole.SpanContext().SpanID()))
		calls = append(calls, span)
	}
	g.Expect(calls).To(HaveLen(3))
	g.Expect(waits).To(Equal(3))
	attributes := func(span sdktrace.ReadOnlySpan) map[string]string {
		seen := map[string]string{}
		for _, attribute := range span.Attributes() {
			seen[string(attribute.Key)] = attribute.Value.Emit()
		}
		return seen
	}
	g.Expect(attributes(calls[0])).To(And(HaveKeyWithValue("http.response.status_code", "200"), HaveKeyWithValue("iothub.request_id", "6c3b8f0e")))
	g.Expect(attributes(calls[1])).To(HaveKeyWithValue("iothub.request_id", ""), "it is the credential that the hub sends back")
	g.Expect(calls[2].Status()).To(Equal(sdktrace.Status{Code: codes.Error, Description: string(ReasonUnreachable)}))
	for _, span := range calls {
		g.Expect(attributes(span)).NotTo(ContainElement(ContainSubstring("d1")))
	}
}
