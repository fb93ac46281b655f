package hub

import (
	"net/url"
	"testing"

	. "github.com/onsi/gomega"
)

// TestAHubHasOneName whichever of its names is given, and is called by one that serves the service API.
func TestAHubHasOneName(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for given, want := range map[string]struct{ name, endpoint string }{
		"h.azure-devices.net":                {"h.azure-devices.net", "h.azure-devices.net"},
		"h.service.azure-devices.net":        {"h.azure-devices.net", "h.service.azure-devices.net"},
		"h.device.azure-devices.net":         {"h.azure-devices.net", "h.service.azure-devices.net"},
		"H.Device.azure-devices.CN":          {"h.azure-devices.cn", "h.service.azure-devices.cn"},
		"h.service.azure-devices.us":         {"h.azure-devices.us", "h.service.azure-devices.us"},
		"h.service.azure-devices.net:8443":   {"h.azure-devices.net:8443", "h.service.azure-devices.net:8443"},
		"h.device.azure-devices.net:443":     {"h.azure-devices.net", "h.service.azure-devices.net"},
		"service.azure-devices.net":          {"service.azure-devices.net", "service.azure-devices.net"},
		"device.azure-devices.net":           {"device.azure-devices.net", "device.azure-devices.net"},
		"service.service.azure-devices.net":  {"service.azure-devices.net", "service.service.azure-devices.net"},
		"a.h.device.azure-devices.net":       {"a.h.device.azure-devices.net", "a.h.device.azure-devices.net"},
		"h.device.azure-devices.net.example": {"h.device.azure-devices.net.example", "h.device.azure-devices.net.example"},
		"h.device.example":                   {"h.device.example", "h.device.example"},
		"h.other.azure-devices.net":          {"h.other.azure-devices.net", "h.other.azure-devices.net"},
		"localhost:1234":                     {"localhost:1234", "localhost:1234"},
		"127.0.0.1:1234":                     {"127.0.0.1:1234", "127.0.0.1:1234"},
	} {
		to, err := Config{ConnectionString: connectionTo(given)}.target()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(to.name).To(Equal(want.name), given)
		g.Expect(to.host).To(Equal(want.endpoint), given)
		g.Expect(ClassicName(to.name)).To(Equal(to.name), "the name of a name is itself")
	}
}

// TestTheNameThatIsCalledHasToBeAllowed: the credential goes there.
func TestTheNameThatIsCalledHasToBeAllowed(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for given, allowed := range map[string]string{
		"h.device.azure-devices.net":  "h.service.azure-devices.net",
		"h.service.azure-devices.net": "h.service.azure-devices.net",
		"h.azure-devices.net":         "h.azure-devices.net",
	} {
		_, err := Open(Config{ConnectionString: connectionTo(given), AllowedHostSuffixes: []string{allowed}})
		g.Expect(err).NotTo(HaveOccurred(), given)
	}
	_, err := Open(Config{ConnectionString: connectionTo("h.device.azure-devices.net"), AllowedHostSuffixes: []string{"h.device.azure-devices.net"}})
	g.Expect(ReasonOf(err)).To(Equal(ReasonHostNotAllowed))
}

// TestAnotherNameOfAHubIsNotAnotherHub: the rates, and what waits for them, stay.
func TestAnotherNameOfAHubIsNotAnotherHub(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	pool := NewPool(PoolOptions{})
	open := func(key, host string) *session {
		_, err := pool.Session(key, Config{ConnectionString: connectionTo(host), AllowedHostSuffixes: DefaultAllowedHostSuffixes()})
		g.Expect(err).NotTo(HaveOccurred())
		return pool.members[key].session
	}
	first := open("a", "h.azure-devices.net")
	lane := pool.members["a"].lane
	second := open("a", "h.device.azure-devices.net")
	g.Expect(second).NotTo(BeIdenticalTo(first))
	g.Expect(second.Host()).To(Equal(first.Host()))
	g.Expect(pool.members["a"].lane).To(BeIdenticalTo(lane))
	g.Expect(open("a", "h.service.azure-devices.net")).To(BeIdenticalTo(second), "both lead to one endpoint")
	other := open("b", "h.azure-devices.net")
	for _, s := range []*session{second, other} {
		s.hear(accepted)
	}
	g.Expect(pool.shared).To(And(HaveLen(1), HaveKey("h.azure-devices.net")), "both share one dispatcher")
}

// TestRequestsNameTheVersionOfTheSDKs, whatever they ask for.
func TestRequestsNameTheVersionOfTheSDKs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	cfg, requests := record(t, twinD1)
	s := mustOpen(t, cfg)
	id := ID{Device: "d1"}
	for _, ask := range []func() error{
		func() error { _, err := s.GetTwin(t.Context(), id); return err },
		func() error {
			_, err := s.PatchTwin(t.Context(), id, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": 1}})
			return err
		},
		func() error { _, err := s.GetIdentity(t.Context(), id); return err },
		func() error { _, err := s.Count(t.Context(), Devices, "true"); return err },
	} {
		_ = ask() // the answer is not the one that each wants
		uri, err := url.ParseRequestURI((<-requests).uri)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(uri.Query()["api-version"]).To(Equal([]string{"2021-04-12"}), uri.Path)
	}
}

func TestWhatEntraCallsThingsInEachCloud(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for authority, want := range map[string]entraCloud{
		"":                                          {"https://iothubs.azure.net/.default", "api://AzureADTokenExchange"},
		DefaultAuthorityHost:                        {"https://iothubs.azure.net/.default", "api://AzureADTokenExchange"},
		"https://localhost:1234/":                   {"https://iothubs.azure.net/.default", "api://AzureADTokenExchange"},
		"https://login.microsoftonline.us/":         {"https://iothubs.azure.us/.default", "api://AzureADTokenExchangeUSGov"},
		"https://Login.MicrosoftOnline.us":          {"https://iothubs.azure.us/.default", "api://AzureADTokenExchangeUSGov"},
		"https://login.chinacloudapi.cn/":           {"https://iothubs.azure.net/.default", "api://AzureADTokenExchangeChina"},
		"https://login.partner.microsoftonline.cn/": {"https://iothubs.azure.net/.default", "api://AzureADTokenExchangeChina"},
	} {
		t.Run(authority, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			g.Expect(cloudOf(authority)).To(Equal(want))
			g.Expect(ExchangeAudience(authority)).To(Equal(want.audience))
		})
	}
	given, err := newTokens(WorkloadIdentity{TenantID: "t", ClientID: "c", Scope: "https://else/.default"}, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(given.identity.Scope).To(Equal("https://else/.default"))
	left, err := newTokens(WorkloadIdentity{TenantID: "t", ClientID: "c", AuthorityHost: "https://login.microsoftonline.us/"}, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left.identity.Scope).To(Equal("https://iothubs.azure.us/.default"))
}
