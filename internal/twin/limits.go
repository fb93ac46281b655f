package twin

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The rules of IoT Hub's twin format, from Microsoft's documentation of device
// twins and from answers of the service.
const (
	maxKeyBytes     = 1024
	maxStringBytes  = 4096
	maxLevel        = 10
	maxInteger      = 4503599627370495  // 2^52 - 1
	minInteger      = -4503599627370496 // -2^52
	maxTagsSize     = 8192
	maxDesiredSize  = 32768
	numberSize      = 8
	boolSize        = 4
	maxViolations   = 10
	forbiddenInKeys = ".$# "
)

// Violation is one rule of the twin format that a declaration breaks.
type Violation struct {
	// Field is the path below spec: tags.location.plant.
	Field string
	// Rule says what is there and should not be, and the limit.
	Rule string
}

// Validate checks a declaration against the rules that IoT Hub documents for
// twins. It returns nothing when the hub has no reason to refuse it, and the
// first ten violations, in the order of the keys, otherwise. No value is quoted.
func Validate(declared Document) []Violation {
	var found violations
	found.section(Tags, declared.Tags, maxTagsSize)
	found.section(Desired, declared.Desired, maxDesiredSize)
	return found
}

type violations []Violation

func (vs *violations) add(field, format string, args ...any) {
	if len(*vs) < maxViolations {
		*vs = append(*vs, Violation{Field: field, Rule: fmt.Sprintf(format, args...)})
	}
}

func (vs *violations) section(name Section, section map[string]any, limit int) {
	vs.object(string(name), section, 0)
	if size := sizeOf(withoutExported(section)); size > limit {
		vs.add(string(name), "a size of %d by IoT Hub's accounting; at most %d is allowed", size, limit)
	}
}

// value checks one value at a level: the section is level 0. Objects and arrays
// make a level, scalars do not.
func (vs *violations) value(field string, value any, level int) {
	switch value := value.(type) {
	case nil:
		vs.add(field, "null; IoT Hub stores no null: leave the key out")
	case string:
		if len(value) > maxStringBytes {
			vs.add(field, "a string of %d bytes; at most %d are allowed", len(value), maxStringBytes)
		}
	case map[string]any:
		if vs.tooDeep(field, level) {
			return
		}
		vs.object(field, value, level)
	case []any:
		if vs.tooDeep(field, level) {
			return
		}
		for i, element := range value {
			vs.value(fmt.Sprintf("%s[%d]", field, i), element, level+1)
		}
	case bool:
	default:
		vs.number(field, value)
	}
}

func (vs *violations) tooDeep(field string, level int) bool {
	if level <= maxLevel {
		return false
	}
	vs.add(field, "an object or array at level %d; at most %d levels are allowed below the section", level, maxLevel)
	return true
}

func (vs *violations) object(field string, object map[string]any, level int) {
	exported := vs.exported(field, object)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if exported && slices.Contains(writtenByHub[:], key) {
			continue
		}
		below := field + step(key)
		vs.key(below, key)
		vs.value(below, object[key], level+1)
	}
}

// writtenByHub are the members that a hub adds to a section when it gives a twin out.
var writtenByHub = [...]string{"$metadata", "$version"}

// exported says in one sentence that a section was pasted as a hub gives it out: all
// that is below its $metadata says nothing more.
func (vs *violations) exported(field string, object map[string]any) bool {
	for _, key := range writtenByHub {
		if _, found := object[key]; found {
			vs.add(field, "a part of a twin as the hub gives it out; leave out $metadata and $version, which the hub writes itself")
			return true
		}
	}
	return false
}

// withoutExported leaves out what is to be left out of a section anyway.
func withoutExported(section map[string]any) map[string]any {
	out := maps.Clone(section)
	for _, key := range writtenByHub {
		delete(out, key)
	}
	return out
}

func (vs *violations) key(field, key string) {
	for _, rule := range brokenByKey(key) {
		vs.add(field, "%s", rule)
	}
}

// brokenByKey says what is wrong with a key on its own.
func brokenByKey(key string) []string {
	var broken []string
	if len(key) > maxKeyBytes {
		broken = append(broken, fmt.Sprintf("a key of %d bytes; at most %d are allowed", len(key), maxKeyBytes))
	}
	if i := strings.IndexFunc(key, forbiddenInKey); i >= 0 {
		r, _ := utf8.DecodeRuneInString(key[i:])
		broken = append(broken, fmt.Sprintf("a key with the character %q; IoT Hub allows no control character, '.', '$', '#' or space in keys", r))
	}
	return broken
}

func forbiddenInKey(r rune) bool {
	return isControl(r) || strings.ContainsRune(forbiddenInKeys, r)
}

// isControl covers the Unicode control characters C0, DEL and C1.
func isControl(r rune) bool { return r < 0x20 || (r >= 0x7f && r <= 0x9f) }

func (vs *violations) number(field string, value any) {
	f, ok := number(value)
	integer := !ok || math.IsInf(f, 0) || f == math.Trunc(f)
	if integer && (!ok || f > maxInteger || f < minInteger) {
		vs.add(field, "an integer outside %d to %d", minInteger, maxInteger)
	}
}

// sizeOf is IoT Hub's accounting: keys and strings count their characters
// without control characters, a number 8, a boolean 4, objects and arrays the
// sum of what they hold.
func sizeOf(value any) int {
	switch value := value.(type) {
	case map[string]any:
		sum := 0
		for key, member := range value {
			sum += textSize(key) + sizeOf(member)
		}
		return sum
	case []any:
		sum := 0
		for _, element := range value {
			sum += sizeOf(element)
		}
		return sum
	case string:
		return textSize(value)
	case bool:
		return boolSize
	case nil:
		return 0
	}
	return numberSize
}

func textSize(text string) int {
	size := 0
	for _, r := range text {
		if !isControl(r) {
			size++
		}
	}
	return size
}
