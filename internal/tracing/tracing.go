// Package tracing has spans exported to an OpenTelemetry collector: one for each reconcile, with those
// of its requests to hubs below it.
package tracing

import (
	"context"
	"fmt"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"
)

// scope names the instrumentation.
const scope = "github.com/devicetwin-io/devicetwin-operator"

// NewProvider exports to a collector that takes OTLP over gRPC at a URL, such as http://collector:4317, where
// http means without TLS. OpenTelemetry's own environment variables set the rest, such as OTEL_TRACES_SAMPLER
// and OTEL_EXPORTER_OTLP_HEADERS. A collector that is not there keeps nothing else from working.
func NewProvider(ctx context.Context, endpoint, service, version string) (*sdktrace.TracerProvider, error) {
	if address, err := url.Parse(endpoint); err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of a collector, such as http://collector:4317", endpoint)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("exporting to %s: %w", endpoint, err)
	}
	described, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		semconv.ServiceName(service), semconv.ServiceVersion(version)))
	if err != nil {
		return nil, fmt.Errorf("describing %s to the collector: %w", service, err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described)), nil
}

// Begin begins a span that a provider exports, with those that Start begins below it.
func Begin(ctx context.Context, provider trace.TracerProvider, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return provider.Tracer(scope).Start(ctx, name, trace.WithAttributes(attributes...))
}

// Start begins a span below that of the context, by whatever exports that one. Without one it begins none that
// is recorded.
func Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(scope).Start(ctx, name, options...)
}

// Event notes a moment within the span of the context.
func Event(ctx context.Context, name string) { trace.SpanFromContext(ctx).AddEvent(name) }
