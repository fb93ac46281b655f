package credential

import (
	"slices"
	"strings"
	"unicode"
)

// secretParts are spellings that make a key the name of a credential wherever they
// stand in it, in lower case and without separators: no other word has them.
var secretParts = [...]string{
	"password", "passwd", "passphrase", "passcode", "pincode", "pwd", "secret", "token", "credential", "apikey", "accesskey", "accountkey",
	"privatekey", "primarykey", "secondarykey", "sharedkey", "symmetrickey", "connectionstring",
}

// secretWords are words that make a key the name of a credential, as one of the
// words that it is made of.
var secretWords = [...]string{
	"psk", "psks", "pswd", "passkey", "puk", "creds", "jwt", "totp", "ltk", "irk", "csrk",
}

// ambiguousWords are credentials where they end a key, and something else in front
// of another word (passCount, pinMode) or behind some (lowPass, gpioPin).
var ambiguousWords = map[string][]string{
	"otp":  nil,
	"pw":   nil,
	"pass": {"low", "high", "band", "all", "by", "over", "under", "test", "fly"},
	"pin": {
		"gpio", "io", "led", "tx", "rx", "sda", "scl", "mosi", "miso", "cs", "clk", "data", "input", "output", "in", "out", "analog",
		"digital", "adc", "dac", "pwm", "irq", "interrupt", "reset", "enable", "power", "relay", "button", "sensor", "trigger", "echo",
		"pull", "ground", "status", "cotter", "king", "push", "hair",
	},
}

// harmlessKeys stand before "key" in names of what is no credential. All others make
// one: what radios, protocols and services call their keys has no end.
var harmlessKeys = [...]string{
	"public", "pub", "partition", "row", "sort", "foreign", "unique", "composite", "index", "lookup", "cache", "map", "object", "routing",
	"group", "grouping", "ordering", "config", "property", "tag", "label", "metadata", "translation", "message", "error", "event",
	"hot", "arrow", "soft", "function", "shortcut", "keyboard", "press",
}

// joined are the words that stand before "key", "psk", "pass" and "pin" in names
// that show no border between words: wifikey, appskey, mqttpass.
var joined = [...]string{
	"app", "apps", "nwk", "nwks", "wifi", "wlan", "wpa", "wpa2", "wpa3", "wep", "net", "network", "session", "encryption", "enc", "master",
	"root", "link", "join", "device", "auth", "signing", "sign", "mesh", "aes", "hmac", "ssh", "license", "user", "admin", "login", "mqtt",
	"db", "smtp", "ftp", "http", "ap", "sim", "door", "unlock", "card", "access", "security", "pairing", "ble", "my",
}

// Named is true of a key whose value is a credential by its name: password, wifiPwd,
// API_KEY, pin, AppSKey. It goes by whole words where those are part of others:
// passenger, compass and pinned are no such names.
func Named(key string) bool {
	words := wordsOf(key)
	plain := strings.Join(words, "")
	if slices.ContainsFunc(secretParts[:], func(part string) bool { return strings.Contains(plain, part) }) {
		return true
	}
	if slices.ContainsFunc(words, func(word string) bool { return slices.Contains(secretWords[:], word) || joinedName(word) }) {
		return true
	}
	words = slices.DeleteFunc(words, isNumber) // pin2, wpa2Key
	return len(words) > 0 && named(words[:len(words)-1], words[len(words)-1])
}

// named is about the last word of a key and those before it.
func named(before []string, last string) bool {
	previous := ""
	if len(before) > 0 {
		previous = before[len(before)-1]
	}
	if last == "key" || last == "keys" {
		return previous != "" && !slices.Contains(harmlessKeys[:], previous)
	}
	others, ambiguous := ambiguousWords[last]
	return ambiguous && !slices.Contains(others, previous)
}

// joinedName is true of one word made of two, such as wifikey.
func joinedName(word string) bool {
	for _, end := range [...]string{"key", "psk", "pass", "pin"} {
		if first, found := strings.CutSuffix(word, end); found && slices.Contains(joined[:], first) {
			return true
		}
	}
	return false
}

// wordsOf splits a key into its words, in lower case: at separators, at digits, and
// at capitals (wifiKey, APIKey, AppSKey).
func wordsOf(key string) []string {
	var words []string
	runes := []rune(key)
	start := 0
	cut := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
		start = end
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			cut(i)
			start = i + 1
		case i > start && border(runes, i):
			cut(i)
		}
	}
	cut(len(runes))
	return words
}

// border is true where a word begins at a letter or digit that follows another one.
func border(runes []rune, i int) bool {
	before, here := runes[i-1], runes[i]
	switch {
	case unicode.IsDigit(before) != unicode.IsDigit(here):
		return true
	case unicode.IsUpper(here):
		endsCapitals := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		return !unicode.IsUpper(before) || endsCapitals
	}
	return false
}

func isNumber(word string) bool {
	return strings.IndexFunc(word, func(r rune) bool { return !unicode.IsDigit(r) }) < 0
}
