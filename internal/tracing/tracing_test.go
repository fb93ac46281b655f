package tracing_test

import (
	"context"
	"net"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/devicetwin-io/devicetwin-operator/internal/tracing"
)

// received is a collector.
type received struct {
	collector.UnimplementedTraceServiceServer
	requests chan *collector.ExportTraceServiceRequest
}

func (r received) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.requests <- request
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestACollectorReceivesThem(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	server, there := grpc.NewServer(), received{requests: make(chan *collector.ExportTraceServiceRequest, 1)}
	collector.RegisterTraceServiceServer(server, there)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	provider, err := tracing.NewProvider(t.Context(), "http://"+listener.Addr().String(), "operator", "1.2.3")
	g.Expect(err).NotTo(HaveOccurred())
	_, span := tracing.Begin(t.Context(), provider, "Reconcile TwinQuery")
	span.End()
	g.Expect(provider.Shutdown(t.Context())).To(Succeed(), "it sends what is left")

	var got *collector.ExportTraceServiceRequest
	g.Eventually(there.requests, 10*time.Second).Should(Receive(&got))
	g.Expect(got.ResourceSpans).To(HaveLen(1))
	g.Expect(got.ResourceSpans[0].String()).To(And(ContainSubstring("1.2.3"), ContainSubstring("Reconcile TwinQuery")))
	server.Stop()
	g.Expect(<-served).To(Succeed())
}

func TestWhatIsNoCollector(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"collector:4317", "ftp://collector", "http://", "::"} {
		_, err := tracing.NewProvider(t.Context(), endpoint, "operator", "1")
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring("is no URL of a collector")), endpoint)
	}
}
