package hubemulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const (
	classicName = "contoso.azure-devices.net"
	serviceName = "contoso.service.azure-devices.net"
	deviceName  = "contoso.device.azure-devices.net"
)

// through has a client reach a hub by name, by a transport of the test's choice.
func (h *hub) through(t *testing.T, name string, change func(*http.Transport)) *client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: h.trusting(t, "")}
	change(transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &client{http: &http.Client{Transport: transport}, base: "https://" + name, token: h.client.token}
}

func (h *hub) trusting(t *testing.T, serverName string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(h.server.CACertificatePEM()) {
		t.Fatal("the CA certificate is not PEM")
	}
	return &tls.Config{RootCAs: roots, ServerName: serverName}
}

func (h *hub) byName(t *testing.T, name string) *client {
	t.Helper()
	return h.through(t, name, func(transport *http.Transport) { transport.DialContext = h.server.DialContext })
}

func TestOneHubUnderThreeNames(t *testing.T) {
	t.Parallel()
	for _, given := range []string{classicName, "Contoso.azure-devices.net", serviceName, deviceName} {
		g, h := NewWithT(t), startHubWith(t, hubemulator.Options{Hostname: given, Devices: []string{"d1"}})
		port := h.server.HTTPSAddress()[strings.LastIndexByte(h.server.HTTPSAddress(), ':'):]
		g.Expect(h.server.HostName()).To(Equal(given + port))
		g.Expect(h.server.HostNames()).To(Equal([]string{classicName + port, serviceName + port, deviceName + port}))
		etag := h.ok(t, http.MethodGet, "/twins/d1", "")["etag"]
		for _, name := range []string{classicName, classicName + port, serviceName, serviceName + ":443"} {
			g.Expect(h.byName(t, name).ok(t, http.MethodGet, "/twins/d1", "")["etag"]).To(Equal(etag), name)
		}
		expectError(t, h.byName(t, deviceName).call(t, http.MethodGet, "/twins/d1", ""), http.StatusNotFound, "GenericNotFound",
			"The service API is not at the hub's name for devices; use its service name or its classic one")
	}
}

func TestTokensForEachName(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHubWith(t, hubemulator.Options{Hostname: classicName, Devices: []string{"d1"}})
	key := h.policyKey(t, "iothubowner")
	for resource, want := range map[string]int{
		classicName: 200, serviceName: 200, deviceName: 200, "other.azure-devices.net": 401, "other.service.azure-devices.net": 401,
	} {
		client := h.byName(t, serviceName)
		client.token = sign(url.QueryEscape(resource), key, "iothubowner", h.clock.Now().Add(time.Hour))
		g.Expect(client.call(t, http.MethodGet, "/twins/d1", "").status).To(Equal(want), resource)
	}
}

func TestAnyOtherHubHasOneName(t *testing.T) {
	t.Parallel()
	for _, given := range []string{"", "hub.example"} {
		g, h := NewWithT(t), startHubWith(t, hubemulator.Options{Hostname: given, Devices: []string{"d1"}})
		g.Expect(h.server.HostNames()).To(Equal([]string{h.server.HostName()}))
		answer, err := h.client.http.Do(must(http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+"/twins/d1", nil)))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(answer.Body.Close()).To(Succeed())
		g.Expect(answer.TLS.Version).To(Equal(uint16(tls.VersionTLS13)))
	}
}

func TestTLSByName(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{Hostname: classicName})
	for _, address := range []string{h.server.HTTPSAddress(), h.server.MQTTAddress()} {
		for name, tt := range map[string]struct {
			least, most uint16 // of the client
			want        uint16 // 0 for a refusal
		}{
			classicName: {want: tls.VersionTLS12},
			serviceName: {want: tls.VersionTLS13},
			deviceName:  {want: tls.VersionTLS13},
			"localhost": {want: tls.VersionTLS13},
			"127.0.0.1": {want: tls.VersionTLS13}, // has no place in SNI

			"other.azure-devices.net":    {},
			strings.ToUpper(classicName): {least: tls.VersionTLS13},
			strings.ToUpper(serviceName): {most: tls.VersionTLS12, want: tls.VersionTLS12},
		} {
			g, config := NewWithT(t), h.trusting(t, name)
			config.MinVersion, config.MaxVersion = tt.least, tt.most
			config.InsecureSkipVerify = tt.want == 0 // it is the hub that has to refuse
			connection, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
			if tt.want == 0 {
				g.Expect(err).To(HaveOccurred(), name)
				continue
			}
			g.Expect(err).NotTo(HaveOccurred(), name)
			g.Expect(connection.(*tls.Conn).ConnectionState().Version).To(Equal(tt.want), name)
			g.Expect(connection.Close()).To(Succeed())
		}
	}
}

func TestRequestForAnotherHost(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHubWith(t, hubemulator.Options{Hostname: classicName, Devices: []string{"d1"}})
	request := must(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+classicName+"/twins/d1"+version, nil))
	request.Header.Set("Authorization", h.token)
	request.Host = "other.azure-devices.net"
	answer, err := h.byName(t, classicName).http.Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = answer.Body.Close() }() // the header is all that is asked for
	g.Expect(answer.StatusCode).To(Equal(http.StatusBadRequest))
	g.Expect(answer.Header.Get("Content-Type")).To(HavePrefix("text/html"))
	g.Expect(h.server.Counters().Operations).To(BeEmpty())
}

func TestDevicesByEachName(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{Hostname: classicName, Devices: []string{"d1"}})
	for _, name := range []string{classicName, serviceName, deviceName} {
		token := sign(url.QueryEscape(name+"/devices/d1"), keyOf(t, must(h.server.DeviceConnectionString("d1"))), "", h.clock.Now().Add(time.Hour))
		d := h.newDevice(t, "d1", "TCP", func(o *mqtt.ClientOptions) {
			o.SetUsername(name + "/d1/?api-version=2021-04-12").SetPassword(token)
			o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
				raw, err := h.server.DialContext(t.Context(), "tcp", name+":8883")
				return tls.Client(raw, h.trusting(t, name)), err
			})
		})
		d.do(d.Connect())
		d.Disconnect(0)
	}
}

// Programs that cannot be told where a name is have a proxy in their environment.
func TestAdminAddressIsAProxyToTheHub(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHubWith(t, hubemulator.Options{Hostname: classicName, Devices: []string{"d1"}})
	behind := func(transport *http.Transport) {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: h.server.AdminAddress()})
	}
	for _, name := range []string{classicName, serviceName} {
		g.Expect(h.through(t, name, behind).ok(t, http.MethodGet, "/twins/d1", "")).To(HaveKeyWithValue("deviceId", "d1"))
	}
	for _, elsewhere := range []string{"other.azure-devices.net", "localhost", h.server.HTTPSAddress()} {
		_, err := h.through(t, elsewhere, behind).do(t.Context(), http.MethodGet, "/twins/d1", "")
		g.Expect(err).To(HaveOccurred(), elsewhere)
	}
}

func TestDialContextLeadsElsewhereToo(t *testing.T) {
	t.Parallel()
	h, other := startHubWith(t, hubemulator.Options{Hostname: classicName}), startHub(t, "d2")
	client := other.through(t, other.server.HostName(), func(transport *http.Transport) { transport.DialContext = h.server.DialContext })
	client.ok(t, http.MethodGet, "/twins/d2", "")
}
