package hub

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/tracing"
)

// traced has each request be a span, its wait for a permit included. It names no device: the span above it names
// the object. IoT Hub's id of the request is what a support case asks for.
func traced(host string) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			ex := exchangeOf(req)
			ctx, span := tracing.Start(req.Context(), string(ex.op), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
				semconv.HTTPRequestMethodOriginal(req.Method), semconv.ServerAddress(host)))
			defer span.End()
			if !span.IsRecording() {
				return next.RoundTrip(req)
			}
			res, err := next.RoundTrip(req.WithContext(ctx))
			if err != nil {
				failed(span, err)
				return nil, err
			}
			secrets := append(secretsOf("", res.Request.Header.Get("Authorization")), ex.secrets...)
			span.SetAttributes(semconv.HTTPResponseStatusCode(res.StatusCode),
				attribute.String("iothub.request_id", cleanToken(res.Header.Get(requestIDHeader), secrets)))
			return res, nil
		})
	}
}

// waits waits for a permit, as a span of its own.
func waits(req *http.Request, share *dispatch.Share, class dispatch.Class) error {
	ctx, span := tracing.Start(req.Context(), "permit")
	defer span.End()
	err := share.Wait(ctx, class)
	if err == nil {
		return nil
	}
	err = turnedAway(err)
	failed(span, err)
	return err
}

// failed notes why, in a word: what was met below HTTP may quote addresses with credentials of proxies.
func failed(span trace.Span, err error) {
	reason := ReasonOf(err)
	if reason == "" {
		reason, _ = transportReason(err)
	}
	span.SetStatus(codes.Error, string(reason))
}
