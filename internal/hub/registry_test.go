package hub

import (
	"encoding/base64"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestIdentitiesAreCreatedOnceAndDeletedUnderTheirETag(t *testing.T) {
	t.Parallel()
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"host"}})
	owner, err := server.ServiceConnectionString("iothubowner")
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnectionString = owner
	s := mustOpen(t, cfg)
	keys := Credentials{
		Type: AuthSAS, PrimaryKey: base64.StdEncoding.EncodeToString([]byte(strings.Repeat("p", 32))),
		SecondaryKey: base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32))),
	}
	thumbprint := strings.Repeat("A1", 32)
	for name, test := range map[string]struct {
		id          ID
		credentials Credentials
	}{
		"device":      {ID{Device: "a+b"}, keys},
		"thumbprint":  {ID{Device: "x509"}, Credentials{Type: AuthSelfSigned, PrimaryThumbprint: thumbprint}},
		"certificate": {ID{Device: "ca"}, Credentials{Type: AuthCertificateAuthority}},
		"module":      {ID{Device: "host", Module: "m+1"}, keys},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := s.GetIdentity(t.Context(), test.id)
			g.Expect(asError(t, err).Reason).To(Equal(ReasonDeviceNotFound))
			created, err := s.CreateIdentity(t.Context(), test.id, test.credentials)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(created.Credentials).To(Equal(test.credentials))
			read, err := s.GetIdentity(t.Context(), test.id)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(read).To(Equal(created))

			_, err = s.CreateIdentity(t.Context(), test.id, test.credentials)
			g.Expect(asError(t, err).Reason).To(Equal(ReasonAlreadyExists))
			updated, err := s.UpdateIdentity(t.Context(), test.id, created.ETag, keys)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(updated.Credentials).To(Equal(keys))
			g.Expect(updated.GenerationID).To(Equal(created.GenerationID), "it is the same one")
			for etag, reason := range map[string]Reason{"": ReasonRefused, created.ETag: ReasonPreconditionFailed} {
				_, err = s.UpdateIdentity(t.Context(), test.id, etag, test.credentials)
				g.Expect(asError(t, err).Reason).To(Equal(reason))
			}
			created, err = s.UpdateIdentity(t.Context(), test.id, updated.ETag, test.credentials)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(created.Credentials).To(Equal(test.credentials))
			g.Expect(asError(t, s.DeleteIdentity(t.Context(), test.id, "")).Reason).To(Equal(ReasonRefused), "never without an etag")
			g.Expect(asError(t, s.DeleteIdentity(t.Context(), test.id, "MQ==")).Reason).To(Equal(ReasonPreconditionFailed))
			g.Expect(s.DeleteIdentity(t.Context(), test.id, created.ETag)).To(Succeed())
			_, err = s.GetTwin(t.Context(), test.id)
			g.Expect(asError(t, err).Reason).To(Equal(ReasonDeviceNotFound))
		})
	}
}

func TestRegistryNeedsItsOwnPermission(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, cfg := emulate(t, hubemulator.Options{})
	_, err := mustOpen(t, cfg).CreateIdentity(t.Context(), ID{Device: "d1"}, Credentials{Type: AuthCertificateAuthority})
	refused := asError(t, err)
	g.Expect(refused.Reason).To(Equal(ReasonUnauthorized))
	g.Expect(refused.Error()).To(ContainSubstring("RegistryWrite"))
}

func TestALostAnswerOfARegistrationIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{})
	owner, err := server.ServiceConnectionString("iothubowner")
	g.Expect(err).NotTo(HaveOccurred())
	cfg.ConnectionString = owner
	_, err = server.AddFault(hubemulator.Fault{Operation: "putDevice", Count: 1, Action: hubemulator.FaultDropAnswer})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = mustOpen(t, cfg).CreateIdentity(t.Context(), ID{Device: "d1"}, Credentials{Type: AuthCertificateAuthority})
	g.Expect(OutcomeUnknown(err)).To(BeTrue())
}
