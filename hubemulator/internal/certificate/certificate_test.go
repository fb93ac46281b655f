package certificate

import (
	"crypto/tls"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// made is what was made so long before that there is as much time left.
func made(t *testing.T, authorityEnds, serverEnds time.Duration, names ...string) Keys {
	t.Helper()
	g, now := NewWithT(t), time.Now()
	authority, err := newPair(authorityTemplate("CA", now.Add(authorityEnds-lifetime)), tls.Certificate{})
	g.Expect(err).NotTo(HaveOccurred())
	issuer, err := authority.parse()
	g.Expect(err).NotTo(HaveOccurred())
	server, err := newPair(serverTemplate(names, now.Add(serverEnds-lifetime)), issuer)
	g.Expect(err).NotTo(HaveOccurred())
	return Keys{Authority: authority, Server: server}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	const soon, later = renewal - time.Minute, renewal + time.Minute
	names := []string{"localhost", "127.0.0.1"}
	for name, tt := range map[string]struct {
		kept              Keys
		names             []string
		authority, server bool // whether they stay
	}{
		"nothing to do":         {made(t, later, later, names...), names, true, true},
		"one name less":         {made(t, later, later, names...), names[:1], true, true},
		"another name":          {made(t, later, later, names...), []string{"hub.example"}, true, false},
		"another address":       {made(t, later, later, names...), []string{"127.0.0.2"}, true, false},
		"the server's ends":     {made(t, later, soon, names...), names, true, false},
		"the authority's ends":  {made(t, soon, later, names...), names, false, false},
		"both ended long ago":   {made(t, -later, -later, names...), names, false, false},
		"there was nothing yet": {Keys{}, names, false, false},
	} {
		g := NewWithT(t)
		renewed, err := Renew(tt.kept, "CA", tt.names)
		g.Expect(err).NotTo(HaveOccurred(), name)
		g.Expect(renewed.Keys.Authority == tt.kept.Authority).To(Equal(tt.authority), name)
		g.Expect(renewed.Keys.Server == tt.kept.Server).To(Equal(tt.server), name)
		authority, server, err := renewed.Keys.parse()
		g.Expect(err).NotTo(HaveOccurred(), name)
		g.Expect(server.Leaf.CheckSignatureFrom(authority.Leaf)).To(Succeed(), name)
		g.Expect(covers(server, tt.names)).To(BeTrue(), name)
		g.Expect(string(renewed.CAPEM)).To(Equal(renewed.Keys.Authority.Certificate))
		g.Expect(renewed.TLS.Certificates[0].Certificate).To(Equal(server.Certificate))
	}
}

func TestRefusedKeys(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	first, second := made(t, time.Hour, time.Hour, "a"), made(t, time.Hour, time.Hour, "a")
	g.Expect(first.Check()).To(Succeed())
	first.Server.Key = second.Server.Key
	g.Expect(first.Check()).To(MatchError(ContainSubstring("the server's certificate: tls: private key does not match")))
	g.Expect(Keys{Server: second.Server}.Check()).To(MatchError(ContainSubstring("the CA: ")))
	_, err := Renew(first, "CA", []string{"a"})
	g.Expect(err).To(HaveOccurred(), "it is not made anew in silence")
}
