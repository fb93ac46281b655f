package devicesim_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amenzhinsky/iothub/common"
	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"github.com/devicetwin-io/devicetwin-operator/devicesim"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const patience = 15 * time.Second

// TestMain allows the library's goroutines the second that they need to notice
// that a request is over.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		deadline := time.Now().Add(5 * time.Second)
		err := goleak.Find()
		for err != nil && time.Now().Before(deadline) {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// hub is an emulated IoT Hub with one device, d1, and another writer of
// its twin.
type hub struct {
	*WithT
	t *testing.T
	*hubemulator.Server
	client *http.Client
}

func newHub(t *testing.T) *hub {
	t.Helper()
	return newHubWith(t, hubemulator.Options{})
}

func newHubWith(t *testing.T, opts hubemulator.Options) *hub {
	t.Helper()
	g := NewWithT(t)
	opts.Devices = []string{"d1"}
	server, err := hubemulator.Start(context.Background(), opts)
	g.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	g.Expect(roots.AppendCertsFromPEM(server.CACertificatePEM())).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Errorf("closing the hub: %v", err)
		}
	})
	return &hub{WithT: g, t: t, Server: server, client: &http.Client{Transport: transport, Timeout: patience}}
}

// desire writes to the device's desired properties as a back end would.
func (h *hub) desire(properties string) {
	h.t.Helper()
	cs, err := h.ServiceConnectionString("service")
	h.Expect(err).NotTo(HaveOccurred())
	parts, err := common.ParseConnectionString(cs, "HostName", "SharedAccessKeyName", "SharedAccessKey")
	h.Expect(err).NotTo(HaveOccurred())
	token, err := common.NewSharedAccessSignature(parts["HostName"], parts["SharedAccessKeyName"], parts["SharedAccessKey"], time.Now().Add(time.Hour))
	h.Expect(err).NotTo(HaveOccurred())
	url := "https://" + h.HostName() + "/twins/d1?api-version=2021-04-12"
	request, err := http.NewRequest(http.MethodPatch, url, strings.NewReader(`{"properties":{"desired":`+properties+`}}`))
	h.Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", token.String())
	request.Header.Set("Content-Type", "application/json")
	response, err := h.client.Do(request)
	h.Expect(err).NotTo(HaveOccurred())
	body, err := io.ReadAll(response.Body)
	h.Expect(err).NotTo(HaveOccurred())
	h.Expect(response.Body.Close()).To(Succeed())
	h.Expect(response.StatusCode).To(Equal(http.StatusOK), string(body))
}

func (h *hub) twin() map[string]any {
	h.t.Helper()
	raw, err := h.TwinJSON("d1")
	h.Expect(err).NotTo(HaveOccurred())
	var twin map[string]any
	h.Expect(json.Unmarshal(raw, &twin)).To(Succeed())
	return twin
}

// reported is the reported section without what the hub adds.
func (h *hub) reported() map[string]any {
	reported := h.twin()["properties"].(map[string]any)["reported"].(map[string]any)
	delete(reported, "$metadata")
	delete(reported, "$version")
	return reported
}

func (h *hub) connectionState() any { return h.twin()["connectionState"] }

func (h *hub) calls(operation string) int64 { return h.Counters().Operations[operation].Calls }

func (h *hub) options() devicesim.Options {
	h.t.Helper()
	cs, err := h.DeviceConnectionString("d1")
	h.Expect(err).NotTo(HaveOccurred())
	return devicesim.Options{
		ConnectionString: cs,
		CA:               h.CACertificatePEM(),
		MQTTAddress:      h.MQTTAddress(),
		Connectivity:     "cellular",
		ReconnectMin:     10 * time.Millisecond,
		ReconnectMax:     100 * time.Millisecond,
	}
}

// running is a device that runs until the test ends or leave is called.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	output lines
	log    lines
}

func run(t *testing.T, opts devicesim.Options) *running {
	t.Helper()
	r := &running{t: t, done: make(chan error, 1)}
	opts.Output = &r.output
	opts.Logger = slog.New(slog.NewTextHandler(&r.log, nil))
	device, err := devicesim.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- device.Run(ctx) }()
	t.Cleanup(r.leave)
	return r
}

// leave ends the device and waits for it. It may be called again.
func (r *running) leave() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
		r.done <- nil
	case <-time.After(patience):
		r.t.Error("Run does not return")
	}
	if r.t.Failed() {
		r.t.Logf("log:\n%s", strings.Join(r.log.all(), "\n"))
	}
}

// lines collects what is written, line by line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(strings.SplitSeq(strings.TrimSuffix(l.text.String(), "\n"), "\n"))
}
