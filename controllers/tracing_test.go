package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/internal/tracing"
)

var thermostat = reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "plant", Name: "thermostat-1"}}

// reconciles traces one reconcile, and returns the spans that ended.
func reconciles(t *testing.T, do reconcile.Func) []sdktrace.ReadOnlySpan {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	_, _ = traced(provider, "DeviceTwin", do).Reconcile(t.Context(), thermostat) // the test looks at the spans
	return recorder.Ended()
}

func TestAReconcileIsASpan(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	spans := reconciles(t, func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
		below, span := tracing.Start(ctx, "getTwin")
		tracing.Event(below, "something")
		span.End()
		return reconcile.Result{RequeueAfter: time.Minute}, errors.New("the hub does not answer")
	})
	g.Expect(spans).To(HaveLen(2))
	request, whole := spans[0], spans[1]
	g.Expect(whole.Name()).To(Equal("Reconcile DeviceTwin"))
	g.Expect(whole.Status()).To(Equal(sdktrace.Status{Code: codes.Error, Description: "the hub does not answer"}))
	seen := map[string]string{}
	for _, attribute := range whole.Attributes() {
		seen[string(attribute.Key)] = attribute.Value.AsString()
	}
	g.Expect(seen).To(Equal(map[string]string{"k8s.namespace.name": "plant", "k8s.object.name": "thermostat-1", "requeue_after": "1m0s"}))
	g.Expect(request.Name()).To(Equal("getTwin"))
	g.Expect(request.Parent().SpanID()).To(Equal(whole.SpanContext().SpanID()))
	g.Expect(request.Events()).To(HaveLen(1))
}

func TestWithoutTracing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, err := traced(nil, "DeviceTwin", reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
		_, span := tracing.Start(ctx, "getTwin")
		defer span.End()
		g.Expect(span.IsRecording()).To(BeFalse())
		return reconcile.Result{}, nil
	})).Reconcile(t.Context(), thermostat)
	g.Expect(err).NotTo(HaveOccurred())
}
