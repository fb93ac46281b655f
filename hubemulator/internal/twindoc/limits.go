package twindoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// The limits that IoT Hub sets to a twin's content.
const (
	// MaxTagsSize is the largest Size of tags: 8 KB.
	MaxTagsSize = 8192
	// MaxPropertiesSize is the largest Size of the desired properties, and of the
	// reported ones: 32 KB each.
	MaxPropertiesSize = 32768

	maxKeyBytes    = 1024
	maxStringBytes = 4096
	maxDepth       = 10       // objects and arrays below a section
	minInteger     = -1 << 52 // integers fit a double's mantissa
	maxInteger     = 1<<52 - 1
)

// CheckContent applies the rules on keys, values and nesting to what a client
// wants to merge into a section. Its errors are of type *Error.
func CheckContent(content map[string]any) error {
	return checkObject(content, 0, false)
}

func checkObject(object map[string]any, level int, inArray bool) error {
	for key, value := range object {
		if err := checkKey(key); err != nil {
			return err
		}
		if err := checkValue(key, value, level+1, inArray); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(key string) error {
	if len(key) > maxKeyBytes {
		return invalid("Property or Tag name should be maximum %d bytes. Error in Property/Tag %s", maxKeyBytes, key)
	}
	forbidden := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(".$# ", r) }
	if strings.ContainsFunc(key, forbidden) {
		return invalid("Property or Tag name has invalid characters. Error in Property/Tag %s. "+
			"Must not contain Control Characters, '.', '$', '#', or ' '.", key)
	}
	return nil
}

// checkValue checks the value at key; level is the nesting of the value
// itself, 1 for a section's own properties. Null means "delete" and is
// meaningless inside an array.
func checkValue(key string, value any, level int, inArray bool) error {
	switch value := value.(type) {
	case nil:
		if inArray {
			return invalid("Property or Tag value in an array should not be null. Error in Property/Tag %s", key)
		}
	case string:
		if len(value) > maxStringBytes {
			return invalid("Property or Tag value should be maximum %d bytes. Error in Property/Tag %s", maxStringBytes, key)
		}
	case json.Number:
		return checkNumber(key, value)
	case map[string]any:
		if level > maxDepth {
			return tooDeep(key)
		}
		return checkObject(value, level, inArray)
	case []any:
		if level > maxDepth {
			return tooDeep(key)
		}
		for _, element := range value {
			if err := checkValue(key, element, level+1, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func tooDeep(key string) error {
	return invalid("Property or Tag nesting should be maximum %d levels. Error in Property/Tag %s", maxDepth, key)
}

// checkNumber refuses integers by value, however they are spelled, outside the
// range that a double holds exactly.
func checkNumber(key string, number json.Number) error {
	value, err := strconv.ParseFloat(number.String(), 64)
	outside := value == math.Trunc(value) && (value < minInteger || value > maxInteger)
	if errors.Is(err, strconv.ErrRange) || outside {
		return invalid("Property or Tag integer value should be between %d and %d. Error in Property/Tag %s",
			int64(minInteger), int64(maxInteger), key)
	}
	if err != nil {
		return invalid("Property or Tag value is no number. Error in Property/Tag %s", key)
	}
	return nil
}

// Size counts like the hub does: characters of keys and strings without control
// characters, 8 for a number, 4 for a boolean, containers by their content. With
// arraysAsText an array counts as its JSON text does.
func (t *Tree) Size(arraysAsText bool) int {
	size := 0
	for _, property := range t.properties() {
		size += sizeOfText(property.name.Value()) + sizeOf(property.value, arraysAsText)
	}
	return size
}

func sizeOf(value any, arraysAsText bool) int {
	size := 0
	switch value := value.(type) {
	case string:
		size = sizeOfText(value)
	case json.Number:
		size = 8
	case bool:
		size = 4
	case *Tree:
		size = value.Size(arraysAsText)
	case map[string]any:
		for key, child := range value {
			size += sizeOfText(key) + sizeOf(child, arraysAsText)
		}
	case []any:
		if arraysAsText {
			return lengthAsText(value)
		}
		for _, element := range value {
			size += sizeOf(element, arraysAsText)
		}
	}
	return size
}

// lengthAsText is how many bytes of JSON an array is.
func lengthAsText(array []any) int {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(array) // what was decoded from JSON always encodes
	return text.Len() - len("\n")
}

func sizeOfText(text string) int {
	size := 0
	for _, r := range text {
		if !unicode.IsControl(r) {
			size++
		}
	}
	return size
}
