// Package issuer is a small stand-in for Microsoft Entra ID: it issues access
// tokens for an emulated IoT Hub, so that programs which sign in with Entra ID
// can be tried without Azure. Tests take tokens from Mint; programs get theirs
// from the OAuth 2.0 token endpoint in exchange for the token of a Kubernetes
// service account, as with Azure's workload identity.
package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/certificate"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/httpserver"
)

// DefaultTenant is the tenant of an issuer that is given none.
const DefaultTenant = "7f1a3c52-6d0e-4b8f-9a21-5c3e8d4b6f70"

// Options configure an issuer. The zero value is usable, for Mint at least:
// no client can sign in at its token endpoint.
type Options struct {
	// Address is where the issuer listens, as host:port. Port 0 picks a free
	// one. Default "127.0.0.1:0".
	Address string
	// Hostname goes into URLs and the certificate. Default "localhost".
	Hostname string
	// Tenant is the id of the issuer's one tenant, a GUID. Default DefaultTenant.
	Tenant string
	// Applications are who may sign in at the token endpoint.
	Applications []Application
	// Trusted are the issuers of assertions, such as Kubernetes clusters.
	Trusted []TrustedIssuer
	// Secrets are those of another issuer, to be the same to everybody.
	// Default: fresh keys.
	Secrets Secrets
	// Clock tells the time for tokens. Default: the real clock. Programs judge
	// by theirs when to renew a token.
	Clock clock.PassiveClock
	// Logger receives what is worth knowing about the server itself, never a
	// token. Default: discarded.
	Logger *slog.Logger
}

// Application is an application with its service principal: who a token is
// issued to.
type Application struct {
	// ClientID is the application's id, a GUID.
	ClientID string
	// ObjectID is its service principal's, a GUID: the one that roles are
	// assigned to. Default: the same as ClientID, which Entra ID never does.
	ObjectID string
	// Federated are whose assertions the application signs in with.
	Federated []FederatedCredential
}

// FederatedCredential says which assertion stands for an application.
type FederatedCredential struct {
	// Subject is the assertion's claim sub, in full and case-sensitive. That of
	// a Kubernetes service account is "system:serviceaccount:NAMESPACE:NAME".
	Subject string
	// Issuer is the assertion's claim iss, one of Options.Trusted. Without one,
	// the assertion's issuer and signature are not checked at all: a client that can
	// reach the token endpoint can sign in, which will do for tests alone.
	Issuer string
	// Audience is the assertion's claim aud. Default ExchangeAudience.
	Audience string
}

// ExchangeAudience is the audience of assertions that Entra ID recommends.
const ExchangeAudience = "api://AzureADTokenExchange"

// TrustedIssuer is an issuer of assertions whose signatures can be checked.
type TrustedIssuer struct {
	// Issuer is the claim iss, for instance "https://kubernetes.default.svc.cluster.local".
	Issuer string
	// JWKS is its JSON Web Key Set. A Kubernetes API server tells its own:
	// kubectl get --raw /openid/v1/jwks
	JWKS []byte
}

// Server is a running issuer.
type Server struct {
	opts         Options
	applications map[string]Application // by the client id in lower case
	trusted      map[string]keyfunc.Keyfunc
	signer       signer

	listener net.Listener
	identity certificate.Identity
	https    *http.Server

	cancel  context.CancelFunc
	serving sync.WaitGroup
	stopErr error // set before serving is done
}

// Start runs an issuer. It is ready when Start returns, and stops when ctx
// ends or Close is called.
func Start(ctx context.Context, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	s := &Server{opts: opts}
	if err := s.configure(); err != nil {
		return nil, fmt.Errorf("the issuer: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", opts.Address)
	if err != nil {
		return nil, fmt.Errorf("the issuer's address %s cannot be used: %w; free it or choose another", opts.Address, err)
	}
	s.listener = listener
	s.identity, err = certificate.Renew(opts.Secrets.Certificates, "hubemulator issuer CA", certificate.Names(opts.Hostname, listener))
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	running, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	s.https = httpserver.New(running, opts.Logger, s.routes())
	s.https.TLSConfig = s.identity.TLS
	s.serve(running)
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Tenant == "" {
		o.Tenant = DefaultTenant
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// configure checks the options, and makes the signing key.
func (s *Server) configure() error {
	if _, err := uuid.Parse(s.opts.Tenant); err != nil {
		return fmt.Errorf("the tenant %q should be a GUID", s.opts.Tenant)
	}
	var err error
	if s.trusted, err = trustedIssuers(s.opts.Trusted); err != nil {
		return err
	}
	if s.applications, err = s.registered(s.opts.Applications); err != nil {
		return err
	}
	s.signer, err = newSigner(s.opts.Secrets.SigningKey)
	return err
}

func (s *Server) serve(running context.Context) {
	s.serving.Go(func() {
		if err := s.https.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("The issuer failed", "error", err)
		}
	})
	s.serving.Go(func() {
		<-running.Done()
		s.stopErr = httpserver.Shutdown(s.https)
	})
}

// Close stops the issuer and waits until it has stopped. It is idempotent.
func (s *Server) Close() error {
	s.cancel()
	s.serving.Wait()
	return s.stopErr
}

// AuthorityHost is the base of the issuer's URLs: what Azure's SDKs call the
// authority host, or AZURE_AUTHORITY_HOST. It ends with a slash.
func (s *Server) AuthorityHost() string { return s.url("/") }

// Tenant is the id of the issuer's tenant.
func (s *Server) Tenant() string { return s.opts.Tenant }

// URL is the issuer as tokens name it in their claim iss, below which its
// OpenID configuration is found.
func (s *Server) URL() string { return s.url("/" + s.opts.Tenant + "/v2.0") }

// JWKSURL is where the issuer's public keys are.
func (s *Server) JWKSURL() string { return s.url("/" + s.opts.Tenant + "/discovery/v2.0/keys") }

// JWKS is the issuer's public keys, as they are at JWKSURL.
func (s *Server) JWKS() []byte { return s.signer.public }

// TokenURL is where applications sign in.
func (s *Server) TokenURL() string { return s.url("/" + s.opts.Tenant + "/oauth2/v2.0/token") }

// Address is where the issuer listens, as host:port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// CACertificatePEM is the certificate authority that clients have to trust.
func (s *Server) CACertificatePEM() []byte { return s.identity.CAPEM }

// Secrets are the issuer's keys. Who has them can make its tokens.
func (s *Server) Secrets() Secrets {
	return Secrets{Certificates: s.identity.Keys, SigningKey: s.signer.kept}
}

func (s *Server) url(path string) string {
	return (&url.URL{Scheme: "https", Host: httpserver.HostPort(s.opts.Hostname, s.Address()), Path: path}).String()
}
