package hub

import (
	"bytes"
	"encoding/pem"
	"log"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
)

func TestConnectionStringsThatWork(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for text, want := range map[string]string{
		connectionTo("My-Hub.Azure-Devices.NET"):                                                                "my-hub.azure-devices.net",
		" \n" + connectionTo("h.example:8443") + ";\r\n":                                                        "h.example:8443",
		connectionTo("h.example:443"):                                                                           "h.example",
		"SharedAccessKey=" + testKey + " ; sharedaccesskeyname = service ;HOSTNAME=localhost:1":                 "localhost:1",
		connectionTo("[::1]:8443"):                                                                              "[::1]:8443",
		connectionTo("[2001:DB8::0:1]:443"):                                                                     "[2001:db8::1]",
		"GatewayHostName=g;" + connectionTo("127.0.0.1:65535"):                                                  "127.0.0.1:65535",
		"HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=" + "YQ==" + ";DeviceId=also-given-is-fine": "h",
	} {
		host, err := hostOf(text)
		g.Expect(err).NotTo(HaveOccurred(), text)
		g.Expect(host).To(Equal(want))
	}
}

func TestMalformedConnectionStrings(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for text, says := range map[string]string{
		"":            "lacks HostName and SharedAccessKeyName and SharedAccessKey;",
		"HostName=h;": "lacks SharedAccessKeyName and SharedAccessKey;",
		"SharedAccessKeyName=service;SharedAccessKey=" + testKey:                 "lacks HostName;",
		"HostName=h;SharedAccessKey=" + testKey:                                  "lacks SharedAccessKeyName;",
		"HostName=h;SharedAccessKeyName=s;SharedAccessKey=":                      "lacks SharedAccessKey;",
		"HostName=h;DeviceId=d1;SharedAccessKey=" + testKey:                      "a device's",
		"HostName=h;DeviceId=d1;ModuleId=m1;SharedAccessKey=" + testKey:          "a module's",
		"HostName=h;SharedAccessSignature=sr=h":                                  "a shared access signature, which expires",
		`"HostName=h;SharedAccessKeyName=s;SharedAccessKey=` + testKey + `"`:     "quotation marks",
		"HostName=::1;SharedAccessKeyName=s;SharedAccessKey=" + testKey:          "HostName is an IPv6 address without brackets",
		"HostName=h;SharedAccessKeyName=s;" + strings.TrimRight(testKey, "="):    "part 3 is not of the form",
		"HostName=h;HostName=i;SharedAccessKeyName=s;SharedAccessKey=" + testKey: "part 2 names something",
		"HostName=h;SharedAccessKeyName=s\x01;SharedAccessKey=" + testKey:        "SharedAccessKeyName holds a control character",
		"HostName=h;SharedAccessKeyName=s;SharedAccessKey=" + testKey + "!":      "SharedAccessKey is not base64",
	} {
		_, err := Open(Config{ConnectionString: text, AllowedHostSuffixes: []string{"h"}})
		own := asError(t, err)
		g.Expect(own.Reason).To(Equal(ReasonMalformedConnectionString), text)
		g.Expect(own.Error()).To(ContainSubstring(says))
		_, err = hostOf(text)
		g.Expect(asError(t, err).Error()).To(Equal(own.Error()))
	}
}

func TestHostilHostNames(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, host := range []string{
		"https://h.azure-devices.net", "evil.example/.azure-devices.net", "evil.example#.azure-devices.net",
		"evil.example?.azure-devices.net", "x@evil.example", "user:pass@h.azure-devices.net", "evil.example\\.azure-devices.net",
		"h .azure-devices.net", "h\t.azure-devices.net", "h\r\n.azure-devices.net", "h%2e.azure-devices.net", ".azure-devices.net",
		"h..azure-devices.net", "h.azure-devices.net.", "h.azure-devices.net:", "h.azure-devices.net:0", "h.azure-devices.net:65536",
		"h.azure-devices.net:+80", "h.azure-devices.net:08", "h.azure-devices.net:80:80", "[::1]x", "[fe80::1%lo]", "::1", "h\u200b.azure-devices.net",
		"ｈ.azure-devices.net", strings.Repeat("a", 64) + ".azure-devices.net", strings.Repeat("a.", 130) + "azure-devices.net",
	} {
		_, err := Open(Config{ConnectionString: connectionTo(host), AllowedHostSuffixes: append(DefaultAllowedHostSuffixes(), "h", "::1", "evil.example")})
		own := asError(t, err)
		g.Expect(own.Reason).To(Equal(ReasonMalformedConnectionString), host)
		g.Expect(own.Error()).To(Or(ContainSubstring("HostName"), ContainSubstring("several lines"), ContainSubstring("not visible")))
	}
}

// Whatever text is put in the Secret, its error never quotes from it.
func TestConnectionStringErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const secret = "5ecret0fTheirs"
		piece := rapid.SampledFrom([]string{
			"HostName", "SharedAccessKeyName", "SharedAccessKey", "DeviceId", "=", ";", secret, " ", "/", "@", ":", "h", "\n", "",
		})
		text := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
		if _, err := hostOf(text); err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("%q gives %v", text, err)
		}
	})
}

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, test := range []struct {
		host     string
		suffixes []string
		want     bool
	}{
		{"my-hub.azure-devices.net", DefaultAllowedHostSuffixes(), true},
		{"my-hub.azure-devices.net:8443", DefaultAllowedHostSuffixes(), true},
		{"my-hub.azure-devices.cn", DefaultAllowedHostSuffixes(), true},
		{"azure-devices.net", DefaultAllowedHostSuffixes(), false},
		{"evil-azure-devices.net", DefaultAllowedHostSuffixes(), false},
		{"my-hub.azure-devices.net.evil.example", DefaultAllowedHostSuffixes(), false},
		{"localhost:8443", []string{"localhost"}, true},
		{"notlocalhost", []string{"localhost"}, false},
		{"a.localhost", []string{"localhost"}, false},
		{"a.localhost:8443", []string{"localhost", ".local"}, false},
		{"a.localhost", []string{".localhost"}, true},
		{"localhost", []string{".localhost"}, false},
		{"my-hub.azure-devices.net", []string{"azure-devices.net"}, false},
		{"my-hub.azure-devices.net", []string{"my-hub.azure-devices.net"}, true},
		{"evil.my-hub.azure-devices.net", []string{"my-hub.azure-devices.net"}, false},
		{"a.b.example", []string{" .EXAMPLE "}, true},
		{"1.127.0.0.1", []string{"127.0.0.1"}, false},
		{"h.example", []string{" H.EXAMPLE "}, true},
		{"[::1]:8443", []string{"::1"}, true},
		{"[::1]", []string{"[::1]"}, true},
		{"[::1]:8443", []string{"::", "1"}, false},
		{"[2001:db8::1]", []string{"::1"}, false},
		{"h.example", nil, false},
		{"h.example", []string{"", ".", " "}, false},
	} {
		g.Expect(hostAllowed(test.host, test.suffixes)).To(Equal(test.want), "%s %q", test.host, test.suffixes)
	}
	_, err := Open(Config{ConnectionString: connectionTo("evil.example"), AllowedHostSuffixes: DefaultAllowedHostSuffixes()})
	own := asError(t, err)
	g.Expect(own.Reason).To(Equal(ReasonHostNotAllowed))
	g.Expect(own.Error()).To(And(ContainSubstring("evil.example"), ContainSubstring("--allowed-host-suffixes"), ContainSubstring(".azure-devices.net")))
}

func TestInvalidCABundles(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	good := pretend(t, page(200, twinD1)).CABundle
	for says, bundle := range map[string][]byte{
		"no PEM block":                    []byte(" \n"),
		"block 2 is not a certificate":    append(bytes.Clone(good), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})...),
		"block 1 is not a readable":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"block 2 is cut short or damaged": append(bytes.Clone(good), good[:len(good)/2]...),
	} {
		_, err := Open(Config{ConnectionString: connectionTo("h"), AllowedHostSuffixes: []string{"h"}, CABundle: bundle})
		own := asError(t, err)
		g.Expect(own.Reason).To(Equal(ReasonInvalidCABundle), says)
		g.Expect(own.Error()).To(And(ContainSubstring(says), ContainSubstring("caBundle")))
	}
	commented := append([]byte("# the emulator's\n"), append(bytes.Clone(good), good...)...)
	_, err := Open(Config{ConnectionString: connectionTo("h"), AllowedHostSuffixes: []string{"h"}, CABundle: commented})
	g.Expect(err).NotTo(HaveOccurred())
}

// The library can be told by an environment variable to log requests with their credentials.
func TestTheLibraryLogsNothing(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("IOTHUB_SERVICE_LOG_LEVEL", "DEBUG")
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	_, err := mustOpen(t, pretend(t, page(200, twinD1))).GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(logged.String()).To(BeEmpty())
}
