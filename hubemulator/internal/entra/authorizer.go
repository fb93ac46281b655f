package entra

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"k8s.io/utils/clock"
)

// Audience is what tokens for IoT Hub's service API are issued for.
const Audience = "https://iothubs.azure.net"

// Bearer returns the token in an Authorization header, and whether it is of
// the scheme Bearer at all.
func Bearer(header string) (token string, isBearer bool) {
	scheme, token, _ := strings.Cut(header, " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// Config says whose tokens an Authorizer accepts.
type Config struct {
	// Issuer is the claim iss of the tokens.
	Issuer string
	// Keys are the issuer's.
	Keys  keyfunc.Keyfunc
	Roles Roles
	Clock clock.PassiveClock
	// Logger is told why a token is refused, since its bearer is not.
	Logger *slog.Logger
}

// Authorizer decides what bearers of access tokens may do. A nil one lets
// no principal do anything.
type Authorizer struct {
	verifier Verifier
	roles    atomic.Pointer[Roles]
	logger   *slog.Logger
}

// NewAuthorizer returns an Authorizer for IoT Hub's service API.
func NewAuthorizer(config Config) *Authorizer {
	a := &Authorizer{
		verifier: NewVerifier(config.Issuer, config.Keys, config.Clock, Audience, Audience+"/"),
		logger:   config.Logger,
	}
	a.SetRoles(config.Roles)
	return a
}

// SetRoles replaces all role assignments.
func (a *Authorizer) SetRoles(roles Roles) { a.roles.Store(&roles) }

// claims are those that tell who the bearer is.
type claims struct {
	jwt.RegisteredClaims
	ObjectID string `json:"oid"`
	// The application's id: the first in tokens of version 1, the other in
	// those of version 2.
	ApplicationID   string `json:"appid"`
	AuthorizedParty string `json:"azp"`
	// Scopes are what a user allowed an application to do on their behalf.
	Scopes string `json:"scp"`
}

// principals are the ids that roles may be assigned to. An application that
// acts for a user has the user's roles, not its own.
func (c claims) principals() []string {
	if c.Scopes != "" {
		return []string{c.ObjectID}
	}
	return []string{c.ObjectID, c.ApplicationID, c.AuthorizedParty}
}

// Allows reports whether a token is good and its bearer's roles grant all of
// the actions.
func (a *Authorizer) Allows(ctx context.Context, token string, needed ...Action) bool {
	if a == nil {
		return false
	}
	var bearer claims
	if err := a.verifier.Verify(ctx, token, &bearer); err != nil {
		a.logger.DebugContext(ctx, "A bearer token is refused", "error", err)
		return false
	}
	if !a.roles.Load().Grant(bearer.principals(), needed...) {
		a.logger.DebugContext(ctx, "A bearer token is refused: no role grants its bearer what is needed",
			"oid", bearer.ObjectID, "appid", bearer.ApplicationID, "needed", needed)
		return false
	}
	return true
}
