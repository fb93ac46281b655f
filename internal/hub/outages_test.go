package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
)

// TestReasonsOfNoAnswer: each way that DNS, TCP and TLS fail, as the standard library tells them.
func TestReasonsOfNoAnswer(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	system := func(number syscall.Errno) error { return dial(os.NewSyscallError("connect", number)) }
	dns := func(err net.DNSError) error {
		err.Name = "hub.azure-devices.net"
		return dial(&err)
	}
	for name, test := range map[string]struct {
		err    error
		reason Reason
		says   string
	}{
		"DNS: no such name":             {dns(net.DNSError{Err: "no such host", IsNotFound: true}), ReasonUnknownHost, "knows no such name"},
		"DNS: timeout":                  {dns(net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}), ReasonUnreachable, "DNS gave no answer"},
		"DNS: server failure":           {dns(net.DNSError{Err: "server misbehaving", IsTemporary: true}), ReasonUnreachable, "DNS gave no answer"},
		"DNS: no server":                {dns(net.DNSError{Err: "read udp: connection refused"}), ReasonUnreachable, "DNS gave no answer"},
		"TCP: refused":                  {system(syscall.ECONNREFUSED), ReasonUnreachable, "nothing accepts connections"},
		"TCP: no route to the net":      {system(syscall.ENETUNREACH), ReasonUnreachable, "no route"},
		"TCP: no route to the host":     {system(syscall.EHOSTUNREACH), ReasonUnreachable, "no route"},
		"TCP: reset":                    {system(syscall.ECONNRESET), ReasonUnreachable, "broke"},
		"TCP: broken pipe":              {system(syscall.EPIPE), ReasonUnreachable, "broke"},
		"TCP: timeout":                  {dial(os.ErrDeadlineExceeded), ReasonUnreachable, "in time"},
		"TCP: out of file descriptors":  {system(syscall.EMFILE), ReasonUnreachable, "failed"},
		"TCP: ended":                    {io.EOF, ReasonUnreachable, "broke"},
		"TCP: ended within":             {io.ErrUnexpectedEOF, ReasonUnreachable, "broke"},
		"TLS: not TLS":                  {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, ReasonUnexpectedAnswer, "not TLS"},
		"TLS: alert":                    {tls.AlertError(40), ReasonUnreachable, "broke off the TLS handshake"},
		"TLS: unknown authority":        {unverified(x509.UnknownAuthorityError{}), ReasonUntrustedCertificate, "caBundle"},
		"TLS: another name":             {unverified(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), ReasonUntrustedCertificate, "another name"},
		"TLS: expired":                  {unverified(x509.CertificateInvalidError{Reason: x509.Expired}), ReasonUntrustedCertificate, "expired"},
		"TLS: not for servers":          {unverified(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}), ReasonUntrustedCertificate, "may not be used"},
		"proxy: not there":              {&net.OpError{Op: "proxyconnect", Err: system(syscall.ECONNREFUSED)}, ReasonUnreachable, "proxy"},
		"proxy: its name is not known":  {&net.OpError{Op: "proxyconnect", Err: dns(net.DNSError{IsNotFound: true})}, ReasonUnreachable, "proxy"},
		"proxy: its certificate is bad": {&net.OpError{Op: "proxyconnect", Err: unverified(x509.UnknownAuthorityError{})}, ReasonUnreachable, "proxy"},
		"the call's time ran out":       {context.DeadlineExceeded, ReasonUnreachable, "in time"},
		"the call was given up":         {context.Canceled, ReasonUnreachable, "given up"},
		"anything else":                 {fmt.Errorf("http: malformed answer"), ReasonUnreachable, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			reason, says := transportReason(&url.Error{Op: "Get", URL: "https://hub.azure-devices.net", Err: test.err})
			g.Expect(reason).To(Equal(test.reason), says)
			g.Expect(says).To(ContainSubstring(test.says))
		})
	}
}

func unverified(err error) error { return &tls.CertificateVerificationError{Err: err} }
