package admin

import (
	"mime"
	"net"
	"net/http"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/hostname"
)

// guard keeps web pages from the API, which has no password: a browser on this
// machine would send their requests to a loopback address. It wants JSON to be
// called JSON, which a page may not do unasked, refuses what a browser says to
// be from another site, and hosts that are none of the hub's, as those of a page
// are whose name was pointed here.
func (c Config) guard(next http.Handler) http.Handler {
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch hasBody := r.ContentLength != 0; {
		case r.Method != http.MethodConnect && !c.isOwn(r.Host):
			refuse(w, http.StatusForbidden, "the host is none of the hub's; use its address, localhost or the hub's name")
		case hasBody && r.Method != http.MethodConnect && !isJSON(r.Header.Get("Content-Type")):
			refuse(w, http.StatusUnsupportedMediaType, "the content type should be application/json; with curl, use --json")
		default:
			next.ServeHTTP(w, r)
		}
	})
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "the request comes from a page of another site")
	}))
	return sameOrigin.Handler(guarded)
}

// isOwn reports whether a Host header is one of the hub. Addresses cannot be
// pointed elsewhere, so all of them are.
func (c Config) isOwn(host string) bool {
	name := hostname.Bare(host)
	return net.ParseIP(name) != nil || slices.Contains(c.HostNames, name)
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json"
}
