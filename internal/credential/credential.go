// Package credential detects strings that may be credentials, so that what users and
// devices put into a twin reaches no message by accident.
//
// It goes by appearance and by name: it hides a thumbprint as well as a key, and
// cannot recognize a password that looks like a word under a key that gives no hint.
package credential

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Hidden stands for a string that is not shown.
const Hidden = "a value that looks like a credential"

// marks are spellings that go with credentials, in lower case: IoT Hub's and Azure
// Storage's connection strings and signatures, headers, and PEM.
var marks = [...]string{
	"sharedaccess", "sig=", "accountkey=", "password=", "passwd=", "pwd=", "secret=", "token=", "bearer ", "basic ", "-----begin ",
}

// assignment is a value behind its name: psk=…, "pin": "…".
var assignment = regexp.MustCompile(`([\pL\pN_-]+)(?:\s*=|"\s*:)\s*[^\s;,}]`)

// userInfo is a name and a password in a URL.
var userInfo = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@`)

// Marked is true of a string that mentions a credential.
func Marked(text string) bool {
	lower := strings.ToLower(text)
	for _, mark := range marks {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	if !strings.ContainsAny(text, "=:") {
		return false // neither of the others can match
	}
	for _, found := range assignment.FindAllStringSubmatch(text, -1) {
		if Named(found[1]) {
			return true
		}
	}
	return userInfo.MatchString(text)
}

// minKey is the length from which one word of mixed letters and digits may be a
// key: 16 bytes in hexadecimal, or 24 in base64. GUIDs and host names have
// separators that no key has, and names are shorter.
const minKey = 32

// LooksLike is true of a string that may be or contain a credential.
func LooksLike(text string) bool {
	return Marked(text) || holdsKey(text)
}

// digest is a checksum that says so, as container images have it.
var digest = regexp.MustCompile(`(?i)\bsha(?:1|256|384|512):[0-9a-f]+\b`)

// holdsKey is true of a string with a word that is as long and as mixed as a key.
func holdsKey(text string) bool {
	text = digest.ReplaceAllLiteralString(text, "")
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !inKey(r) }) {
		if len(word) >= minKey && strings.ContainsFunc(word, unicode.IsDigit) && strings.ContainsFunc(word, unicode.IsLetter) {
			return true
		}
	}
	return false
}

// inKey is true of the characters of base64, base64url and hexadecimal; those that
// join the words of names are left out: a key has long stretches without them.
func inKey(r rune) bool {
	return r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '+' || r == '/' || r == '=')
}

// Masked is the string, or Hidden in its place.
func Masked(text string) string {
	if LooksLike(text) {
		return Hidden
	}
	return text
}

// HeldAt reports whether a JSON value at a path may be or contain a credential.
func HeldAt(keys []string, value any) bool {
	return slices.ContainsFunc(keys, Named) && secret(value) || Held(value)
}

// Held reports whether a JSON value, or anything in it, may be a credential.
func Held(value any) bool {
	switch value := value.(type) {
	case string:
		return LooksLike(value)
	case []any:
		return slices.ContainsFunc(value, Held)
	case map[string]any:
		for key, member := range value {
			if Named(key) && secret(member) || Held(member) {
				return true
			}
		}
	}
	return false
}

// secret is false of values that are no credential, whatever their name: nothing
// is learnt from {"pass": true}.
func secret(value any) bool {
	switch value := value.(type) {
	case nil, bool:
		return false
	case []any:
		return slices.ContainsFunc(value, secret)
	case map[string]any:
		for _, member := range value {
			if secret(member) {
				return true
			}
		}
		return false
	}
	return true
}

// Redacted returns a JSON value with Hidden in place of each string that may be a
// credential, and of each scalar under a key that names one, true and false aside.
// The value itself is not changed, and hidden tells how many were.
func Redacted(value any) (redacted any, hidden int) {
	return redact(value, false)
}

func redact(value any, named bool) (any, int) {
	switch value := value.(type) {
	case map[string]any:
		out, hidden := make(map[string]any, len(value)), 0
		for key, member := range value {
			below, n := redact(member, named || Named(key))
			out[key] = below
			hidden += n
		}
		return out, hidden
	case []any:
		out, hidden := make([]any, len(value)), 0
		for i, member := range value {
			below, n := redact(member, named)
			out[i] = below
			hidden += n
		}
		return out, hidden
	case string:
		if named || LooksLike(value) {
			return Hidden, 1
		}
	default:
		if named && secret(value) {
			return Hidden, 1
		}
	}
	return value, 0
}
