package httpserver_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/httpserver"
)

func TestHostPort(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for want, of := range map[string][2]string{
		"localhost":      {"localhost", "127.0.0.1:443"},
		"localhost:8443": {"localhost", "127.0.0.1:8443"},
		"[::1]":          {"::1", "[::1]:443"},
		"[::1]:8443":     {"[::1]", "[::1]:8443"},
		"[2001:db8::1]":  {"[2001:db8::1]", "[::]:443"},
	} {
		g.Expect(httpserver.HostPort(of[0], of[1])).To(Equal(want))
	}
}
