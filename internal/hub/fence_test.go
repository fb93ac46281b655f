package hub

import (
	"errors"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// TestAFenceLetsNoChangePass, and every read; nothing is said to have been sent.
func TestAFenceLetsNoChangePass(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1"}})
	owner, err := server.ServiceConnectionString("iothubowner")
	g.Expect(err).NotTo(HaveOccurred())
	cfg.ConnectionString = owner
	over := errors.New("another is the leader")
	var fenced error
	cfg.Fence = func() error { return fenced }
	s, d1 := mustOpen(t, cfg), ID{Device: "d1"}
	twin, err := s.GetTwin(t.Context(), d1)
	g.Expect(err).NotTo(HaveOccurred())
	identity, err := s.GetIdentity(t.Context(), d1)
	g.Expect(err).NotTo(HaveOccurred())

	changes := map[string]func() error{
		"PatchTwin": func() error {
			_, err := s.PatchTwin(t.Context(), d1, twin.ETag, Patch{Tags: map[string]any{"a": 1}})
			return err
		},
		"CreateIdentity": func() error {
			_, err := s.CreateIdentity(t.Context(), ID{Device: "d2"}, Credentials{Type: AuthCertificateAuthority})
			return err
		},
		"UpdateIdentity": func() error {
			_, err := s.UpdateIdentity(t.Context(), d1, identity.ETag, Credentials{Type: AuthCertificateAuthority})
			return err
		},
		"DeleteIdentity": func() error { return s.DeleteIdentity(t.Context(), d1, identity.ETag) },
	}
	fenced = over
	before := server.Counters()
	for name, change := range changes {
		err := change()
		g.Expect(err).To(MatchError(over), name)
		g.Expect(ReasonOf(err)).To(Equal(ReasonNotLeading), name)
		g.Expect(OutcomeUnknown(err)).To(BeFalse(), name)
	}
	g.Expect(server.Counters()).To(Equal(before), "the hub has seen none of them")
	g.Expect(s.GetTwin(t.Context(), d1)).Error().NotTo(HaveOccurred())
	fenced = nil
	g.Expect(changes["PatchTwin"]()).To(Succeed())
}
