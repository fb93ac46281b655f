package sas

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"
)

const fuzzKey = "MDEyMzQ1Njc4OWFiY2RlZg=="

func TestParse(t *testing.T) {
	t.Parallel()
	for text, accepted := range map[string]bool{
		"SharedAccessSignature sr=h&sig=AA==&se=1":                     true,
		"SharedAccessSignature sr=h&sig=AA%3D%3D&se=1":                 true,
		"SharedAccessSignature se=1&skn=service&sig=AA==&sr=h":         true,
		"SharedAccessSignature sr=h&sig=AA==&se=1&unknown=x":           true,
		"sr=h&sig=AA==&se=1":                                           false,
		"SharedAccessSignature sig=AA==&se=1":                          false,
		"SharedAccessSignature sr=&sig=AA==&se=1":                      false,
		"SharedAccessSignature sr=h&se=1":                              false,
		"SharedAccessSignature sr=h&sig=A===&se=1":                     false,
		"SharedAccessSignature sr=h&sig=A%&se=1":                       false,
		"SharedAccessSignature sr=h&sig=AA==":                          false,
		"SharedAccessSignature sr=h&sig=AA==&se=soon":                  false,
		"SharedAccessSignature sr=h&sig=AA==&se=9999999999999999999":   false,
		"SharedAccessSignature sr=h&sig=AA==&se=1&skn=%":               false,
		"SharedAccessSignature sr=h,sig=AA==,se=1":                     false,
		"Bearer SharedAccessSignature sr=h&sig=AA==&se=1":              false,
		"sharedaccesssignature sr=h&sig=AA==&se=1&skn=service":         false,
		"SharedAccessSignature sr=h&sig=AA==&se=1&skn=service&skn=%41": true,
	} {
		if _, err := Parse(text); (err == nil) != accepted {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "SharedAccessSignature ", "Bearer x", "SharedAccessSignature sr=&sig=&se=",
		"SharedAccessSignature sr=h&sig=AA==&se=1&skn=service",
		"SharedAccessSignature sr=&sig=AA==&se=1", "SharedAccessSignature sr=h&se=1", "SharedAccessSignature sr=h&sig=AA==",
		"SharedAccessSignature se=9223372036854775807&skn=%zz&sig=%3D%3D&sr=h%2Fdevices%2Fd1",
		"SharedAccessSignature sr=[::1]:8883/devices/%2523&sig=AAAA&se=-1",
		"SharedAccessSignature sr=h&sr=i&sig=AAAA&sig=BBBB&se=1&se=2",
		"SharedAccessSignature sr=%ff%00///&sig=AA%3d%3d&se=1& skn = x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			if err != errMalformed { //nolint:errorlint // it is the one error, and says nothing of the token
				t.Fatalf("the error tells about the token: %v", err)
			}
			return
		}
		if !strings.HasPrefix(text, scheme) || token.resource == "" || token.signature == nil || token.expiry == "" {
			t.Fatalf("accepted without scheme, sr, sig or se: %q", text)
		}
		if !strings.Contains(text, token.resource) || !strings.Contains(text, token.expiry) {
			t.Fatalf("sr and se are not as received: %q", text)
		}
		if token.ExpiredAt(token.Expiry.Add(-time.Second)) || !token.ExpiredAt(token.Expiry) {
			t.Fatalf("expires at another time than it says: %q", text)
		}
		// Whatever it claims, it is no one's signature, and no hub of nowhere.
		if token.SignedWith(fuzzKey) {
			t.Fatalf("forged: %q", text)
		}
		if token.Covers(nil, "devices", "d1") {
			t.Fatalf("covers what is on no hub: %q", text)
		}
		if token.Covers([]string{"h"}, "devices", "d1") && !token.Covers([]string{"h"}, "devices", "d1", "modules", "m") {
			t.Fatalf("covers a device, but not what is below it: %q", text)
		}
	})
}

// FuzzRoundTrip signs tokens and demands that they are read as they were
// written, and that no other key, resource or time passes for theirs.
func FuzzRoundTrip(f *testing.F) {
	f.Add("hub", "d1", "service", "0123456789abcdef", int64(1))
	f.Add("localhost:8443", "a%2Fb#?&=+ ", "", "\x00", int64(1<<40))
	f.Add("::1", "é's", "p&sr=x", "key", int64(-1))
	f.Fuzz(func(t *testing.T, host, device, policy, rawKey string, seconds int64) {
		if rawKey == "" || host == "" {
			return
		}
		key := base64.StdEncoding.EncodeToString([]byte(rawKey))
		resource := host + "/devices/" + url.PathEscape(device)
		text, err := New(resource, key, policy, time.Unix(seconds, 0))
		if err != nil {
			t.Fatal(err)
		}
		token, err := Parse(text)
		if err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		if token.KeyName != policy && url.QueryEscape(policy) == url.PathEscape(policy) {
			t.Fatalf("policy %q is read as %q", policy, token.KeyName)
		}
		if token.Expiry.Unix() != seconds {
			t.Fatalf("expiry %d is read as %d", seconds, token.Expiry.Unix())
		}
		if !token.SignedWith(key) {
			t.Fatalf("the signature is not recognised: %q", text)
		}
		// Of two keys that hash alike, HMAC cannot tell which was used: it pads
		// short ones with zeros. A key in front of another is told apart.
		if token.SignedWith(base64.StdEncoding.EncodeToString([]byte("x" + rawKey))) {
			t.Fatalf("another key passes: %q", text)
		}
		for _, changed := range []Token{
			{resource: token.resource + "x", expiry: token.expiry, signature: token.signature},
			{resource: token.resource, expiry: token.expiry + "0", signature: token.signature},
		} {
			if changed.SignedWith(key) {
				t.Fatalf("a changed token passes: %q", text)
			}
		}
	})
}
