package issuer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/google/uuid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
)

func trustedIssuers(given []TrustedIssuer) (map[string]keyfunc.Keyfunc, error) {
	trusted := map[string]keyfunc.Keyfunc{}
	for _, issuer := range given {
		if issuer.Issuer == "" {
			return nil, errors.New("a trusted issuer should have a name: the claim iss of its tokens")
		}
		keys, err := entra.ParseKeys(issuer.JWKS)
		if err != nil {
			return nil, fmt.Errorf("the keys of the trusted issuer %q: %w", issuer.Issuer, err)
		}
		trusted[issuer.Issuer] = keys
	}
	return trusted, nil
}

// registered checks applications, and returns them by client id with their
// defaults filled in.
func (s *Server) registered(given []Application) (map[string]Application, error) {
	applications := map[string]Application{}
	for _, application := range given {
		if _, err := uuid.Parse(application.ClientID); err != nil {
			return nil, fmt.Errorf("the client id %q of an application should be a GUID", application.ClientID)
		}
		key := strings.ToLower(application.ClientID)
		if _, twice := applications[key]; twice {
			return nil, fmt.Errorf("the application %q is given twice; give it several federated credentials instead", application.ClientID)
		}
		application.ObjectID = cmp.Or(application.ObjectID, application.ClientID)
		application.Federated = slices.Clone(application.Federated)
		for i, credential := range application.Federated {
			if credential.Subject == "" {
				return nil, fmt.Errorf("a federated credential of the application %q should have a subject, such as system:serviceaccount:NAMESPACE:NAME", application.ClientID)
			}
			if _, known := s.trusted[credential.Issuer]; !known && credential.Issuer != "" {
				return nil, fmt.Errorf("the issuer %q of a federated credential of the application %q should be among the trusted ones", credential.Issuer, application.ClientID)
			}
			application.Federated[i].Audience = cmp.Or(credential.Audience, ExchangeAudience)
		}
		applications[key] = application
	}
	return applications, nil
}
