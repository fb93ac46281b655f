package issuer

import (
	"encoding/json"
	"net/http"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.ofTenant(s.configuration))
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.ofTenant(s.keys))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", s.ofTenant(s.token))
	return mux
}

// endpoint answers a request with a document or a refusal.
type endpoint func(*http.Request) (any, *refusal)

// ofTenant is an endpoint of the issuer's tenant; there is no other.
func (s *Server) ofTenant(answer endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tenant := r.PathValue("tenant")
		if tenant != s.opts.Tenant {
			s.refuse(w, noTenant(tenant))
			return
		}
		document, refused := answer(r)
		if refused != nil {
			s.refuse(w, refused)
			return
		}
		writeJSON(w, http.StatusOK, document)
	}
}

// configuration is the issuer's metadata as OpenID Connect Discovery has it.
// No user can sign in with a browser, but the place has to be named.
func (s *Server) configuration(*http.Request) (any, *refusal) {
	return map[string]any{
		"issuer":                                s.URL(),
		"authorization_endpoint":                s.url("/" + s.opts.Tenant + "/oauth2/v2.0/authorize"),
		"token_endpoint":                        s.TokenURL(),
		"jwks_uri":                              s.JWKSURL(),
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"private_key_jwt"},
	}, nil
}

func (s *Server) keys(*http.Request) (any, *refusal) { return s.signer.public, nil }

func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	// Maps and structs of strings and numbers encode, and a client that has
	// gone away is no business of ours.
	_ = json.NewEncoder(w).Encode(document)
}
