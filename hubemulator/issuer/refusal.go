package issuer

import (
	"fmt"
	"net/http"

	"github.com/google/uuid"
)

// refusal is an error as Entra ID words it.
type refusal struct {
	status int
	kind   string // OAuth's error code
	number int    // Entra ID's
	text   string
}

// refusals of Entra ID, with the statuses and numbers that it documents or was
// seen to use.
func noTenant(tenant string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", tenant)}
}

func missingParameter(name string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 900144, fmt.Sprintf("The request body must contain the following parameter: '%s'.", name)}
}

func badBody() *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 900144, "The request body should be a form of at most 64 KB."}
}

func badGrant(grant string) *refusal {
	return &refusal{http.StatusBadRequest, "unsupported_grant_type", 70003, fmt.Sprintf("The app requested an unsupported grant type '%s'.", grant)}
}

func badScope(scope string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_scope", 1002012, fmt.Sprintf("The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", scope)}
}

func noApplication(id, tenant string) *refusal {
	return &refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%s' was not found in the directory '%s'.", id, tenant)}
}

func noAssertion() *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", 7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
}

func badAssertionType() *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 50027, "The value of 'client_assertion_type' is not supported; it should be " + assertionType + "."}
}

func badAssertion() *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", 50027, "JWT token is invalid or malformed."}
}

func badSignature() *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application, or the signature is invalid."}
}

func outdatedAssertion() *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", 700024, "Client assertion is not within its valid time range."}
}

func noFederation(number int, part, value string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", number, fmt.Sprintf("No matching federated identity record found for presented assertion %s '%s'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.", part, value)}
}

func failure() *refusal {
	return &refusal{http.StatusInternalServerError, "server_error", 90033, "A transient error has occurred. Please try again."}
}

func (s *Server) refuse(w http.ResponseWriter, r *refusal) {
	timestamp := s.opts.Clock.Now().UTC().Format("2006-01-02 15:04:05Z")
	trace, correlation := uuid.NewString(), uuid.NewString()
	writeJSON(w, r.status, map[string]any{
		"error":             r.kind,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", r.number, r.text, trace, correlation, timestamp),
		"error_codes":       []int{r.number},
		"timestamp":         timestamp,
		"trace_id":          trace,
		"correlation_id":    correlation,
		"error_uri":         s.url("/error") + fmt.Sprintf("?code=%d", r.number),
	})
}
