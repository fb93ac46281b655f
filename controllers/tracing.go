package controllers

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/internal/tracing"
)

// waitsForPermit is what ends a reconcile that is parked, in traces.
const waitsForPermit = "waits for a permit of the hub"

// traced has each reconcile of a kind be a span. Without a provider the reconciler is as it was.
func traced(provider trace.TracerProvider, kind string, next reconcile.Reconciler) reconcile.Reconciler {
	if provider == nil {
		return next
	}
	return reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		ctx, span := tracing.Begin(ctx, provider, "Reconcile "+kind,
			semconv.K8SNamespaceName(req.Namespace), attribute.String("k8s.object.name", req.Name))
		defer span.End()
		result, err := next.Reconcile(ctx, req)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		if result.RequeueAfter > 0 {
			span.SetAttributes(attribute.String("requeue_after", result.RequeueAfter.String()))
		}
		return result, err
	})
}
