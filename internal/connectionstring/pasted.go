package connectionstring

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	byteOrderMark  = "\ufeff"
	quotationMarks = "\"'`“”„‘’‚«»"
)

// assigned is a line of an env file, of a shell or of YAML: a name, "=" or ":",
// and the connection string behind it.
var assigned = regexp.MustCompile(`(?i)^(?:export\s+|set\s+|-\s+)?\$?[\w.:-]*\w\s*[=:]\s*[` + quotationMarks + `]?\s*(?:HostName|Endpoint)\s*=`)

// pasted says what stands around a connection string or in its place, and what to
// do about it; "" where it may be one.
func pasted(text string) string {
	text = strings.TrimSpace(text)
	first, _ := utf8.DecodeRuneInString(text)
	switch {
	case strings.ContainsRune(text, 0), !utf8.ValidString(text):
		return `it is no UTF-8 text, but UTF-16 perhaps, as Windows PowerShell writes with ">"; save it as UTF-8 without a byte order mark`
	case strings.HasPrefix(text, byteOrderMark):
		return "it begins with a byte order mark, as some editors on Windows save files; save it as UTF-8 without one"
	case first == '{', first == '[':
		return "it is JSON, as az prints it; have az print the text alone: --query connectionString --output tsv"
	case assigned.MatchString(text):
		return `it begins with a name and "=", as a line of an env file does (NAME=HostName=…); keep only what stands behind them`
	case text != "" && strings.ContainsRune(quotationMarks, first):
		return "it stands in quotation marks, which env files and the literals of a kustomization keep as part of the value; leave them out"
	case strings.HasPrefix(strings.ToLower(text), "sharedaccesssignature sr="):
		return "it is a shared access signature, which expires; use the connection string that holds the key"
	case strings.ContainsAny(text, "\r\n"):
		return several(text)
	case encoded(text):
		return "it is base64 once too often: a Secret holds plain text under stringData, and under data what is encoded once"
	}
	return invisible(text)
}

// several is about a text of more than one line.
func several(text string) string {
	if strings.Count(strings.ToLower(text), "hostname=") > 1 {
		return "it holds several connection strings, a line each; keep one of them"
	}
	return "it is broken into several lines; write it as one"
}

// encoded tells whether a text is base64, once or more often, of what would be a
// connection string or JSON of one.
func encoded(text string) bool {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(raw) == 0 || !utf8.Valid(raw) {
		return false
	}
	inner := strings.ToLower(string(raw))
	return strings.Contains(inner, "hostname=") || strings.Contains(inner, "endpoint=") || encoded(strings.TrimSpace(string(raw)))
}

// invisible is about characters that cannot be seen, which copying from a page or a
// chat may add.
func invisible(text string) string {
	at := 0
	for _, r := range text {
		at++
		if unicode.Is(unicode.Cf, r) {
			return fmt.Sprintf("its character %d is %U, which is not visible; type it again there, or copy it from another place", at, r)
		}
	}
	return ""
}
