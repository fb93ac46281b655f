package hubemulator

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/keyfunc/v3"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// entraSide is what a hub has to do with Entra ID.
type entraSide struct {
	authorizer *entra.Authorizer // nil when the hub takes no Entra tokens
	issuer     *issuer.Server    // nil when the hub has none of its own
}

// Issuer returns the hub's own issuer of Entra ID's access tokens; nil when
// the options ask for none.
func (s *Server) Issuer() *issuer.Server { return s.entra.issuer }

// SetEntraRoles replaces the role assignments at the hub, as Options.EntraRoles
// has them. They count from the next request on; Azure's take minutes.
func (s *Server) SetEntraRoles(assigned map[string][]string) error {
	if s.entra.authorizer == nil {
		return errRolesWithoutIssuer
	}
	roles, err := entra.NewRoles(assigned)
	if err != nil {
		return err
	}
	s.entra.authorizer.SetRoles(roles)
	return nil
}

var errRolesWithoutIssuer = errors.New("the roles of Entra principals should come with an issuer: without one they cannot be used")

// addEntra makes the hub's side of Entra ID, with the issuer that was kept.
func (s *Server) addEntra(running context.Context) error {
	if err := s.opts.checkEntra(); err != nil {
		return err
	}
	roles, err := entra.NewRoles(s.opts.EntraRoles)
	if err != nil {
		return err
	}
	config := entra.Config{Issuer: s.opts.EntraIssuer, Roles: roles, Clock: s.opts.Clock, Logger: s.opts.Logger}
	switch {
	case s.opts.Issuer != nil:
		if err := s.startIssuer(running); err != nil {
			return err
		}
		config.Issuer = s.entra.issuer.URL()
		config.Keys, err = entra.ParseKeys(s.entra.issuer.JWKS())
	case s.opts.EntraIssuer != "":
		config.Keys, err = s.opts.entraKeys(running)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("the Entra issuer %s: %w", config.Issuer, err)
	}
	s.entra.authorizer = entra.NewAuthorizer(config)
	return nil
}

func (o Options) entraKeys(running context.Context) (keyfunc.Keyfunc, error) {
	roots, err := authorities(o.EntraCAs, "Entra CAs")
	if err != nil {
		return nil, err
	}
	return entra.LoadKeys(running, o.EntraJWKS, roots, o.Logger)
}

func (o Options) checkEntra() error {
	switch {
	case (o.EntraIssuer == "") != (o.EntraJWKS == ""):
		return errors.New("an Entra issuer and its key set (JWKS) should be given together")
	case o.EntraIssuer != "" && o.Issuer != nil:
		return errors.New("the hub takes tokens of one issuer: either of its own or of an Entra issuer that is given")
	case o.EntraIssuer == "" && o.Issuer == nil && len(o.EntraRoles) > 0:
		return errRolesWithoutIssuer
	}
	return nil
}

func (s *Server) startIssuer(running context.Context) error {
	opts := *s.opts.Issuer
	if opts.Hostname == "" {
		opts.Hostname = s.opts.Hostname
	}
	if opts.Clock == nil {
		opts.Clock = s.opts.Clock
	}
	if opts.Logger == nil {
		opts.Logger = s.opts.Logger
	}
	if opts.Secrets == (issuer.Secrets{}) {
		opts.Secrets = s.kept.issuer
	}
	started, err := issuer.Start(running, opts)
	if err != nil {
		return err
	}
	s.entra.issuer = started
	s.keepIssuer(started.Secrets())
	return nil
}

func (e entraSide) close() error {
	if e.issuer == nil {
		return nil
	}
	return e.issuer.Close()
}

// withCA adds the issuer's authority to the hub's: a client of both has one
// file to trust.
func (e entraSide) withCA(hubCA []byte) []byte {
	if e.issuer == nil {
		return hubCA
	}
	return slices.Concat(hubCA, e.issuer.CACertificatePEM())
}

// IssuerConnection is how to reach a hub's own issuer of access tokens.
type IssuerConnection struct {
	// AuthorityHost is what Azure's SDKs call by that name.
	AuthorityHost string `json:"authorityHost"`
	TenantID      string `json:"tenantId"`
	// URL is the issuer as tokens name it.
	URL      string `json:"url"`
	TokenURL string `json:"tokenUrl"`
	JWKSURL  string `json:"jwksUrl"`
	// CA is the certificate authority to trust there, as PEM.
	CA string `json:"ca"`
}

func (e entraSide) connection() *IssuerConnection {
	if e.issuer == nil {
		return nil
	}
	return &IssuerConnection{
		AuthorityHost: e.issuer.AuthorityHost(), TenantID: e.issuer.Tenant(), URL: e.issuer.URL(),
		TokenURL: e.issuer.TokenURL(), JWKSURL: e.issuer.JWKSURL(), CA: string(e.issuer.CACertificatePEM()),
	}
}

// authorities reads PEM certificates; nil when there are none.
func authorities(pem []byte, what string) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the %s hold no certificate; they should be PEM", what)
	}
	return pool, nil
}
