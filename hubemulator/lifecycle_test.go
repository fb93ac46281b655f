package hubemulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCloseIsIdempotentAndFreesThePorts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(h.server.Close()).To(Succeed())
	g.Expect(h.server.Close()).To(Succeed())
	for _, address := range []string{h.server.HTTPSAddress(), h.server.MQTTAddress(), h.server.AdminAddress()} {
		listener, err := net.Listen("tcp", address)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(listener.Close()).To(Succeed())
	}
}

func TestStopsWithItsContext(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(t.Context())
	server, err := hubemulator.Start(ctx, hubemulator.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	cancel()
	g.Eventually(func() error {
		connection, err := net.Dial("tcp", server.HTTPSAddress())
		if err == nil {
			return connection.Close()
		}
		return err
	}).Should(HaveOccurred())
	g.Expect(server.Close()).To(Succeed())
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	taken := startHub(t).server.HTTPSAddress()
	for purpose, opts := range map[string]hubemulator.Options{
		"HTTPS": {HTTPSAddress: taken}, "MQTT": {MQTTAddress: taken}, "admin": {AdminAddress: taken},
	} {
		_, err := hubemulator.Start(t.Context(), opts)
		g.Expect(err).To(MatchError(ContainSubstring("the " + purpose + " address " + taken + " cannot be used")))
		g.Expect(err).To(MatchError(ContainSubstring("free it or choose another")))
	}
}

func TestInvalidDevice(t *testing.T) {
	t.Parallel()
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{Devices: []string{"a b"}})
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring(`creating device "a b"`)))
	_, err = hubemulator.Start(t.Context(), hubemulator.Options{Devices: []string{"a", "a"}})
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("already registered")))
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Hostname: "Hub.Example", HTTPSAddress: "127.0.0.2:0"})
	roots := x509.NewCertPool()
	g.Expect(roots.AppendCertsFromPEM(h.server.CACertificatePEM())).To(BeTrue())
	for _, name := range []string{"hub.example", "localhost", "127.0.0.1", "::1", "127.0.0.2"} {
		for _, tlsVersion := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			connection, err := tls.Dial("tcp", h.server.HTTPSAddress(), &tls.Config{
				RootCAs: roots, ServerName: name, MinVersion: tlsVersion, MaxVersion: tlsVersion,
			})
			g.Expect(err).NotTo(HaveOccurred(), "%s, %s", name, tls.VersionName(tlsVersion))
			g.Expect(connection.Close()).To(Succeed())
		}
	}
	_, err := tls.Dial("tcp", h.server.HTTPSAddress(), &tls.Config{RootCAs: roots, ServerName: "127.0.0.3"})
	g.Expect(err).To(HaveOccurred())
	_, err = tls.Dial("tcp", h.server.HTTPSAddress(), &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	g.Expect(err).To(HaveOccurred())
}

func TestFiles(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "new", "data")
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1", "d2"}})
	g.Expect(os.ReadFile(filepath.Join(dir, "ca.crt"))).To(Equal(h.server.CACertificatePEM()))

	path := filepath.Join(dir, "connections.json")
	info, err := os.Stat(path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
	text, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	var connections hubemulator.Connections
	g.Expect(json.Unmarshal(text, &connections)).To(Succeed())

	g.Expect(connections.Service).To(HavePrefix("HostName=" + h.server.HostName() + ";SharedAccessKeyName=iothubowner;SharedAccessKey="))
	g.Expect(connections.Policies).To(HaveLen(5))
	g.Expect(connections.Policies["iothubowner"]).To(Equal(connections.Service))
	g.Expect(connections.Devices).To(HaveLen(2))
	g.Expect(connections.Devices["d1"]).To(HavePrefix("HostName=" + h.server.HostName() + ";DeviceId=d1;SharedAccessKey="))
	g.Expect(connections.Devices["d1"]).To(Equal(must(h.server.DeviceConnectionString("d1"))))
	g.Expect(connections.Addresses).To(Equal(hubemulator.Addresses{
		HTTPS: h.server.HTTPSAddress(), MQTT: h.server.MQTTAddress(), Admin: h.server.AdminAddress(),
	}))
	entries, err := os.ReadDir(dir)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(entries).To(HaveLen(4), "state.jsonl, its lock, and no temporary file")

	_, err = hubemulator.Start(t.Context(), hubemulator.Options{DataDir: path})
	g.Expect(err).To(MatchError(ContainSubstring("data directory cannot be used")))
}

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	_, port, err := net.SplitHostPort(h.server.HTTPSAddress())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(h.server.HostName()).To(Equal("localhost:" + port))
	_, err = h.server.ServiceConnectionString("absent")
	g.Expect(err).To(HaveOccurred())
	_, err = h.server.DeviceConnectionString("absent")
	g.Expect(err).To(HaveOccurred())
	_, err = h.server.TwinJSON("absent")
	g.Expect(err).To(HaveOccurred())
	g.Expect(h.server.RemoveDevice("absent")).NotTo(Succeed())

	text := must(h.server.AddDevice("d1"))
	g.Expect(text).To(Equal(must(h.server.DeviceConnectionString("d1"))))
	identity := h.ok(t, http.MethodGet, "/devices/d1", "")
	g.Expect(keyOf(t, text)).To(Equal(at(identity, "authentication", "symmetricKey", "primaryKey")))
	g.Expect(h.server.RemoveDevice("d1")).To(Succeed())
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		server, err := hubemulator.Start(b.Context(), hubemulator.Options{Devices: []string{"d1"}})
		if err != nil {
			b.Fatal(err)
		}
		if err := server.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
