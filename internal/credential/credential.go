// Package credential tells texts that may be a credential from others, so that
// what people and devices put into a twin reaches no message by accident.
//
// It goes by appearance: it hides a thumbprint as well as a key, and cannot know
// a password that looks like a word.
package credential

import (
	"regexp"
	"strings"
	"unicode"
)

// Hidden stands for a text that is not shown.
const Hidden = "a value that looks like a credential"

// marks are spellings that go with credentials, in lower case: IoT Hub's and Azure
// Storage's connection strings and signatures, headers, and PEM.
var marks = [...]string{
	"sharedaccess", "sig=", "accountkey=", "password=", "passwd=", "pwd=", "secret=", "token=", "bearer ", "basic ", "-----begin ",
}

// userInfo is a name and a password in a URL.
var userInfo = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@`)

// Marked is true of a text that speaks of a credential.
func Marked(text string) bool {
	lower := strings.ToLower(text)
	for _, mark := range marks {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	return userInfo.MatchString(text)
}

// minKey is the length from which one word of mixed letters and digits may be a
// key: 16 bytes in hexadecimal, or 24 in base64. GUIDs and host names have
// separators that no key has, and names are shorter.
const minKey = 32

// LooksLike is true of a text that may be or hold a credential.
func LooksLike(text string) bool {
	return Marked(text) || holdsKey(text)
}

// holdsKey is true of a text with a word that is as long and as mixed as a key.
func holdsKey(text string) bool {
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

// secretNames are what keys of documents are called that hold credentials, in
// lower case and without separators.
var secretNames = [...]string{
	"password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "accesskey", "accountkey", "privatekey",
	"primarykey", "secondarykey", "sharedkey", "symmetrickey", "connectionstring", "sastoken",
}

// Named is true of a key whose value is a credential by its name.
func Named(key string) bool {
	plain := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, key)
	for _, name := range secretNames {
		if strings.Contains(plain, name) {
			return true
		}
	}
	return false
}

// Masked is the text, or Hidden in its place.
func Masked(text string) string {
	if LooksLike(text) {
		return Hidden
	}
	return text
}
