package twin

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShownKey bounds what a message shows of one key: keys may be a kilobyte.
const maxShownKey = 64

// Path leads to a value: a section, then keys.
type Path struct {
	section Section
	keys    []string
}

// ParsePath reads a path as a user writes it: a section and keys, joined by
// dots.
func ParsePath(text string) (Path, error) {
	first, rest, below := strings.Cut(text, ".")
	section := Section(first)
	if section != Tags && section != Desired {
		return Path{}, fmt.Errorf("begins with %q: it should begin with %s or %s", shorten(first, maxShownKey), Tags, Desired)
	}
	if !below {
		return Path{section: section}, nil
	}
	keys, err := ParseKeys(rest)
	return Path{section: section, keys: keys}, err
}

// ParseKeys reads keys joined by dots: no key of a legal twin holds a dot. A key
// that no twin can hold is an error.
func ParseKeys(text string) ([]string, error) {
	keys := strings.Split(text, ".")
	for _, key := range keys {
		if broken := brokenByKey(key); len(broken) > 0 {
			return nil, errors.New(strings.Join(broken, "; "))
		}
	}
	return keys, nil
}

// LeadsInto tells whether anything that is declared stands at the path or below it.
func (p Path) LeadsInto(declared Document) bool {
	_, found := declared.at(p)
	return found
}

// leadsTo tells whether p is other or an ancestor of it.
func (p Path) leadsTo(other Path) bool {
	return p.section == other.section && len(p.keys) <= len(other.keys) && slices.Equal(p.keys, other.keys[:len(p.keys)])
}

func (p Path) child(key string) Path {
	keys := make([]string, len(p.keys), len(p.keys)+1)
	copy(keys, p.keys)
	return Path{section: p.section, keys: append(keys, key)}
}

// String renders the path as a user would write it: tags.location.plant.
// Keys that no legal twin holds are quoted: tags["a.b"].
func (p Path) String() string {
	var out strings.Builder
	out.WriteString(string(p.section))
	for _, key := range p.keys {
		out.WriteString(step(key))
	}
	return out.String()
}

func step(key string) string {
	if plainKey(key) {
		return "." + key
	}
	return "[" + strconv.Quote(shorten(key, maxShownKey)) + "]"
}

func plainKey(key string) bool {
	if key == "" || len(key) > maxShownKey || !utf8.ValidString(key) {
		return false
	}
	return !strings.ContainsFunc(key, func(r rune) bool {
		return strings.ContainsRune(`.$#[]"`, r) || !unicode.IsPrint(r) || unicode.IsSpace(r)
	})
}

// shorten cuts a text to at most so many bytes, between two characters.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

// Paths are several paths.
type Paths []Path

// String lists the first few paths and counts the others.
func (ps Paths) String() string {
	const shown = 8
	names := make([]string, 0, shown+1)
	for i, p := range ps {
		if i == shown {
			names = append(names, "and "+strconv.Itoa(len(ps)-shown)+" more")
			break
		}
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}
