package devicesim_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/devicesim"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestDevicePlaysItsPart(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.desire(`{"power_level":1}`)
	device := run(t, h.options())
	want := []string{
		"devicesim: connected to " + h.HostName() + " as d1",
		"devicesim: desired power_level: 1 ($version 2)",
		`devicesim: reported {"connectivity":"cellular"} ($version 2)`,
		`devicesim: reported {"power_level":1} ($version 3)`,
	}
	h.Eventually(device.output.all, patience).Should(Equal(want))
	h.Expect(h.reported()).To(Equal(map[string]any{"connectivity": "cellular", "power_level": 1.0}))
	h.Expect(h.connectionState()).To(Equal("Connected"))

	h.desire(`{"power_level":2,"mode":{"fan":"<auto>","heat":[1,2]}}`)
	h.desire(`{"power_level":null,"mode":{"heat":null}}`)
	want = append(want,
		`devicesim: desired mode: {"fan":"<auto>","heat":[1,2]} ($version 3)`,
		"devicesim: desired power_level: 2 ($version 3)",
		`devicesim: desired mode: {"fan":"<auto>"} ($version 4)`,
		"devicesim: desired power_level: removed ($version 4)",
	)
	h.Eventually(func() []string { return only("desired", "connected to", device) }, patience).Should(Equal(without("reported", want)))
	h.Eventually(h.reported, patience).Should(Equal(map[string]any{"connectivity": "cellular", "mode": map[string]any{"fan": "<auto>"}}))

	device.leave()
	h.Expect(device.output.all()).To(HaveSuffixed("devicesim: disconnected"))
	h.Eventually(h.connectionState, patience).Should(Equal("Disconnected"))
}

// HaveSuffixed requires the last line.
func HaveSuffixed(line string) OmegaMatcher {
	return WithTransform(func(all []string) string { return all[len(all)-1] }, Equal(line))
}

func only(a, b string, device *running) []string {
	var kept []string
	for _, line := range device.output.all() {
		if strings.Contains(line, " "+a+" ") || strings.Contains(line, b) {
			kept = append(kept, line)
		}
	}
	return kept
}

func without(word string, all []string) []string {
	var kept []string
	for _, line := range all {
		if !strings.Contains(line, " "+word+" ") {
			kept = append(kept, line)
		}
	}
	return kept
}

func TestEveryChangeIsSeenInOrder(t *testing.T) {
	t.Parallel()
	const changes = 100
	h := newHub(t)
	opts := h.options()
	// With the time standing still, the device waits for the updates that were
	// overtaken and never reads the twin instead.
	opts.Clock = clocktesting.NewFakeClock(time.Now())
	device := run(t, opts)
	h.Eventually(func() int64 { return h.calls("mqttReportedPatch") }, patience).Should(Equal(int64(1)))
	var want []string
	for i := range changes {
		h.desire(fmt.Sprintf(`{"n":%d}`, i))
		want = append(want, fmt.Sprintf("devicesim: desired n: %d ($version %d)", i, i+2))
	}
	h.Eventually(func() []string { return only("desired", "desired", device) }, patience).Should(Equal(want))
	h.Eventually(h.reported, patience).Should(HaveKeyWithValue("n", changes-1.0))
	h.Expect(h.calls("mqttTwinGet")).To(Equal(int64(1)))
}

func TestReconnectShowsWhatChangedAndWritesNothingElse(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.desire(`{"a":1,"b":1}`)
	device := run(t, h.options())
	h.Eventually(h.reported, patience).Should(HaveLen(3))
	h.Eventually(device.output.all, patience).Should(HaveLen(5)) // it says so once it has the answer
	h.ResetCounters()

	_, err := h.AddFault(hubemulator.Fault{Operation: "mqttDesiredNotification", Action: "dropAnswer", Count: 1})
	h.Expect(err).NotTo(HaveOccurred())
	h.desire(`{"b":null,"c":[true]}`)
	h.Eventually(h.reported, patience).Should(Equal(map[string]any{"connectivity": "cellular", "a": 1.0, "c": []any{true}}))
	h.Eventually(func() []string { return device.output.all()[5:] }, patience).Should(Equal([]string{
		"devicesim: disconnected",
		"devicesim: connected to " + h.HostName() + " as d1",
		"devicesim: desired b: removed ($version 3)",
		"devicesim: desired c: [true] ($version 3)",
		`devicesim: reported {"b":null,"c":[true]} ($version 4)`,
	}))
	h.Expect(h.calls("mqttConnect")).To(Equal(int64(1)))
	h.Expect(h.calls("mqttReportedPatch")).To(Equal(int64(1)))

	// A device that starts anew finds everything as it left it.
	device.leave()
	h.ResetCounters()
	again := run(t, h.options())
	h.Eventually(again.output.all, patience).Should(HaveLen(3))
	h.desire(`{"a":2}`)
	h.Eventually(h.reported, patience).Should(HaveKeyWithValue("a", 2.0))
	h.Expect(h.calls("mqttReportedPatch")).To(Equal(int64(1)))
}

func TestLostUpdateIsReadAgain(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	device := run(t, h.options())
	h.Eventually(h.reported, patience).Should(HaveLen(1))
	_, err := h.AddFault(hubemulator.Fault{Operation: "mqttDesiredNotification", Action: "status", Status: 500, Count: 1})
	h.Expect(err).NotTo(HaveOccurred())
	h.desire(`{"lost":1}`)
	h.desire(`{"seen":1}`)
	h.Eventually(func() []string { return only("desired", "desired", device) }, patience).Should(Equal([]string{
		"devicesim: desired lost: 1 ($version 3)",
		"devicesim: desired seen: 1 ($version 3)",
	}))
	h.Expect(h.calls("mqttTwinGet")).To(Equal(int64(2)))
	h.Expect(h.calls("mqttConnect")).To(Equal(int64(1)))
}

func TestRefusedReportIsNotRepeatedForEver(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	device := run(t, h.options())
	h.Eventually(h.reported, patience).Should(HaveLen(1))
	_, err := h.AddFault(hubemulator.Fault{Operation: "mqttReportedPatch", Action: "status", Status: 429, Count: 1})
	h.Expect(err).NotTo(HaveOccurred())
	h.desire(`{"a":1}`)
	h.Eventually(device.log.all, patience).Should(ContainElement(ContainSubstring("the hub did not accept a report")))
	h.desire(`{"b":1}`)
	h.Eventually(h.reported, patience).Should(HaveLen(3))
	h.Expect(h.calls("mqttReportedPatch")).To(Equal(int64(3)))
}

func TestOwnConnectivityIsNotOverruled(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.desire(`{"connectivity":"wifi","x":1}`)
	run(t, h.options())
	h.Eventually(h.reported, patience).Should(Equal(map[string]any{"connectivity": "cellular", "x": 1.0}))
	h.desire(`{"connectivity":null,"x":2}`)
	h.Eventually(h.reported, patience).Should(Equal(map[string]any{"connectivity": "cellular", "x": 2.0}))
}

func TestRefusedDeviceKeepsTrying(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	opts := h.options()
	_, err := h.AddFault(hubemulator.Fault{Operation: "mqttConnect", Action: "status", Status: 401, Count: 3})
	h.Expect(err).NotTo(HaveOccurred())
	device := run(t, opts)
	h.Eventually(h.reported, patience).Should(HaveLen(1))
	h.Expect(h.Counters().Operations["mqttConnect"].Statuses).To(Equal(map[string]int64{"5": 3, "0": 1}))
	h.Expect(device.log.all()).To(ContainElement(ContainSubstring("not Authorized")))
	h.Expect(device.output.all()).NotTo(ContainElement(ContainSubstring("disconnected")), "it was never connected before")
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString([]byte("a secret that must not show"))
	good := "HostName=localhost:8443;DeviceId=d1;SharedAccessKey=" + key
	tests := map[string]struct {
		opts devicesim.Options
		want string
	}{
		"nothing":            {devicesim.Options{}, "connection string: it is empty"},
		"not pairs":          {devicesim.Options{ConnectionString: key[:9] + ";x"}, "connection string: part 1 is not of the form Name=Value"},
		"no key":             {devicesim.Options{ConnectionString: "HostName=h;DeviceId=d"}, "it lacks SharedAccessKey; want HostName=…"},
		"no device":          {devicesim.Options{ConnectionString: "HostName=h;SharedAccessKeyName=service;SharedAccessKey=" + key}, "it is a shared access policy's and lacks DeviceId"},
		"no host":            {devicesim.Options{ConnectionString: "DeviceId=d;SharedAccessKey=" + key}, "it lacks HostName;"},
		"URL as host":        {devicesim.Options{ConnectionString: "HostName=https://h/;DeviceId=d;SharedAccessKey=" + key}, "HostName is not a plain host name"},
		"a module's":         {devicesim.Options{ConnectionString: "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=" + key}, "it is a module's (ModuleId), and devicesim plays devices only"},
		"a certificate's":    {devicesim.Options{ConnectionString: "HostName=h;DeviceId=d;x509=true"}, "a device that signs in with a certificate"},
		"a token":            {devicesim.Options{ConnectionString: "HostName=h;DeviceId=d;SharedAccessSignature=" + key}, "a shared access signature, which expires"},
		"quotes":             {devicesim.Options{ConnectionString: `"` + good + `"`}, "connection string: it stands in quotation marks"},
		"an env line":        {devicesim.Options{ConnectionString: "DEVICE=" + good}, `connection string: it begins with a name and "="`},
		"address, no []":     {devicesim.Options{ConnectionString: "HostName=::1;DeviceId=d;SharedAccessKey=" + key}, "HostName is an IPv6 address without brackets"},
		"key not base64":     {devicesim.Options{ConnectionString: "HostName=h;DeviceId=d;SharedAccessKey=%%" + key}, "SharedAccessKey is not base64"},
		"no port to dial":    {devicesim.Options{ConnectionString: good, MQTTAddress: "localhost"}, `MQTT address "localhost": want host:port`},
		"CA is no PEM":       {devicesim.Options{ConnectionString: good, CA: []byte("x")}, "CA: no PEM certificate"},
		"reconnect reversed": {devicesim.Options{ConnectionString: good, ReconnectMin: 2, ReconnectMax: 1}, "ReconnectMin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := devicesim.New(test.opts)
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
			g.Expect(err.Error()).NotTo(ContainSubstring(key[:9]))
		})
	}
	g := NewWithT(t)
	for _, text := range []string{"\n" + good + "\n", "hostname = localhost ; deviceid = d1 ; sharedaccesskey = " + key + " ;"} {
		device, err := devicesim.New(devicesim.Options{ConnectionString: text})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(device.DeviceID()).To(Equal("d1"))
	}
}

// TestHubWithAnAddressForAName: certificate, user name and signature go by the address.
func TestHubWithAnAddressForAName(t *testing.T) {
	t.Parallel()
	for _, hostname := range []string{"::1", "[0:0:0:0:0:0:0:1]"} {
		t.Run(hostname, func(t *testing.T) {
			t.Parallel()
			h := newHubWith(t, hubemulator.Options{Hostname: hostname})
			h.Expect(h.HostName()).To(HavePrefix("[::1]:"))
			device := run(t, h.options())
			h.Eventually(h.reported, patience).Should(HaveKey("connectivity"))
			h.Expect(device.output.all()).To(ContainElement("devicesim: connected to " + h.HostName() + " as d1"))
		})
	}
}
