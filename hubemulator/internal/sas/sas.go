// Package sas reads and checks IoT Hub's shared access signatures.
package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const scheme = "SharedAccessSignature "

// errMalformed deliberately says nothing about the token's content: a token
// is a credential, and errors end up in logs.
var errMalformed = errors.New("the shared access signature is malformed: it needs sr, sig and se")

// Token is a shared access signature as a client presented it.
type Token struct {
	// KeyName is the policy that signed the token; empty for a device's own key.
	KeyName string
	// Expiry is when the token stops being valid.
	Expiry time.Time

	resource  string // sr exactly as received: the signature covers this spelling
	expiry    string // se exactly as received
	signature []byte
}

// Parse reads a token's text. The order of its fields does not matter.
func Parse(text string) (Token, error) {
	fields, found := strings.CutPrefix(text, scheme)
	if !found {
		return Token{}, errMalformed
	}
	var token Token
	for field := range strings.SplitSeq(fields, "&") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if err := token.set(name, value); err != nil {
			return Token{}, err
		}
	}
	if token.resource == "" || token.signature == nil || token.expiry == "" {
		return Token{}, errMalformed
	}
	return token, nil
}

func (t *Token) set(name, value string) error {
	switch name {
	case "sr":
		t.resource = value
	case "se":
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return errMalformed
		}
		t.expiry, t.Expiry = value, time.Unix(seconds, 0)
	case "sig":
		decoded, err := url.PathUnescape(value)
		if err != nil {
			return errMalformed
		}
		if t.signature, err = base64.StdEncoding.DecodeString(decoded); err != nil {
			return errMalformed
		}
	case "skn":
		decoded, err := url.PathUnescape(value)
		if err != nil {
			return errMalformed
		}
		t.KeyName = decoded
	}
	return nil
}

// ExpiredAt reports whether the token is no longer valid at now.
func (t Token) ExpiredAt(now time.Time) bool {
	return !t.Expiry.After(now)
}

// SignedWith reports whether the token was signed with the base64 key.
func (t Token) SignedWith(base64Key string) bool {
	key, err := base64.StdEncoding.DecodeString(base64Key)
	if err != nil || len(key) == 0 {
		return false
	}
	return hmac.Equal(sign(key, t.resource, t.expiry), t.signature)
}

// Covers reports whether the token's resource is a hub known by one of the
// hostNames (lower case, without a port) and a prefix, by whole segments, of
// the path. Clients differ in case, in escaping and in whether they keep a
// port, so none of these decide.
func (t Token) Covers(hostNames []string, path ...string) bool {
	resource, err := url.PathUnescape(t.resource)
	if err != nil {
		return false
	}
	host, rest, _ := strings.Cut(resource, "/")
	if !knownHost(hostNames, host) {
		return false
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" {
		return true
	}
	segments := strings.Split(rest, "/")
	if len(segments) > len(path) {
		return false
	}
	for i, segment := range segments {
		if !sameSegment(segment, path[i]) {
			return false
		}
	}
	return true
}

func knownHost(hostNames []string, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(strings.ToLower(host), "[]")
	for _, name := range hostNames {
		if name == host {
			return true
		}
	}
	return false
}

// sameSegment also accepts a segment that was escaped before the whole
// resource was: some clients escape a device id twice.
func sameSegment(segment, want string) bool {
	if strings.EqualFold(segment, want) {
		return true
	}
	decoded, err := url.PathUnescape(segment)
	return err == nil && strings.EqualFold(decoded, want)
}

// New signs a token for the resource, for instance "host/devices/d1".
// An empty keyName makes a token of a device's own key.
func New(resource, base64Key, keyName string, expiry time.Time) (string, error) {
	key, err := base64.StdEncoding.DecodeString(base64Key)
	if err != nil {
		return "", errors.New("the key is not base64")
	}
	sr, se := url.QueryEscape(resource), strconv.FormatInt(expiry.Unix(), 10)
	signature := base64.StdEncoding.EncodeToString(sign(key, sr, se))
	text := scheme + "sr=" + sr + "&sig=" + url.QueryEscape(signature) + "&se=" + se
	if keyName != "" {
		text += "&skn=" + url.QueryEscape(keyName)
	}
	return text, nil
}

func sign(key []byte, resource, expiry string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(resource + "\n" + expiry))
	return mac.Sum(nil)
}
