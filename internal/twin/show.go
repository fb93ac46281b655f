package twin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
)

const (
	// maxShownValue bounds what a message shows of one value, in bytes.
	maxShownValue = 48
	// shownBefore is how much of two texts that begin alike stands before the place
	// where they differ, in bytes.
	shownBefore = 8
)

// show is what a message shows of a value at a path: nothing of what may be a
// credential, whole or in part.
func show(at Path, value any) string {
	if credential.HeldAt(at.keys, value) {
		return credential.Hidden
	}
	return spelled(value)
}

func spelled(value any) string {
	if value == nil {
		return "nothing"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value that is no JSON"
	}
	return shorten(string(text), maxShownValue)
}

// shownPair is a path with what is declared and what is held there. Where both are
// too long to be shown and begin alike, it leads on to the place where they differ.
func shownPair(at Path, declared, held any) string {
	if credential.HeldAt(at.keys, declared) || credential.HeldAt(at.keys, held) || !cutShort(declared) && !cutShort(held) {
		return at.String() + values(show(at, declared), show(at, held))
	}
	below, declared, held := parting("", declared, held)
	this, isText := declared.(string)
	that, bothTexts := held.(string)
	if isText && bothTexts {
		return at.String() + below + values(partedTexts(this, that))
	}
	return at.String() + below + values(spelled(declared), spelled(held))
}

func values(declared, held string) string { return " (declared " + declared + ", held " + held + ")" }

// cutShort tells whether a message shows only the beginning of a value.
func cutShort(value any) bool {
	text, err := json.Marshal(value)
	return err == nil && len(text) > maxShownValue
}

// parting follows two values to the first place where they differ: an item of an
// array and all that follow it, or a member of an object.
func parting(at string, declared, held any) (place string, here, there any) {
	if !cutShort(declared) && !cutShort(held) {
		return at, declared, held
	}
	switch this := declared.(type) {
	case []any:
		if that, both := held.([]any); both {
			return partingItems(at, this, that)
		}
	case map[string]any:
		if that, both := held.(map[string]any); both {
			return partingMembers(at, this, that)
		}
	}
	return at, declared, held
}

func partingItems(at string, declared, held []any) (place string, here, there any) {
	most := min(len(declared), len(held))
	first, differing := most, max(len(declared), len(held))-most
	for i := most - 1; i >= 0; i-- {
		if !equalValues(declared[i], held[i]) {
			first = i
			differing++
		}
	}
	switch {
	case first < most && (differing == 1 || isContainer(declared[first]) && isContainer(held[first])):
		return parting(fmt.Sprintf("%s[%d]", at, first), declared[first], held[first])
	case first == 0:
		return at, declared, held
	}
	return fmt.Sprintf("%s from [%d] on", at, first), declared[first:], held[first:]
}

func partingMembers(at string, declared, held map[string]any) (place string, here, there any) {
	for _, key := range slices.Sorted(maps.Keys(declared)) {
		if want, have := declared[key], held[key]; !equalValues(want, have) {
			return parting(at+step(key), want, have)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(held)) {
		if _, both := declared[key]; !both {
			return at + step(key), nil, held[key]
		}
	}
	return at, declared, held
}

func isContainer(value any) bool {
	switch value.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

// partedTexts spells two texts from a little before the place where they differ.
func partedTexts(declared, held string) (this, that string) {
	alike := 0
	for alike < min(len(declared), len(held)) && declared[alike] == held[alike] {
		alike++
	}
	start := max(0, alike-shownBefore)
	for start > 0 && !utf8.RuneStart(declared[start]) {
		start--
	}
	if start == 0 {
		return spelled(declared), spelled(held)
	}
	return "…" + spelled(declared[start:]), "…" + spelled(held[start:])
}
