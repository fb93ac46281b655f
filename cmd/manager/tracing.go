package main

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/devicetwin-io/devicetwin-operator/internal/tracing"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// flushTimeout bounds sending what is left at the end: within what a Pod has to end.
const flushTimeout = 3 * time.Second

// traces returns what traces go to, nil where they go nowhere, and a function that sends what is left.
func traces(ctx context.Context, opts options) (trace.TracerProvider, func(), error) {
	if opts.otlpEndpoint == "" {
		return nil, func() {}, nil
	}
	log := ctrl.Log.WithName("tracing")
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Error(err, "traces are lost") }))
	provider, err := tracing.NewProvider(ctx, opts.otlpEndpoint, "devicetwin-operator", version.Get())
	if err != nil {
		return nil, nil, err
	}
	return provider, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Error(err, "the last traces are lost")
		}
	}, nil
}
