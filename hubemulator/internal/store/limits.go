package store

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// The limits that IoT Hub sets to a twin's content.
const (
	maxTagsSize       = 8192  // 8 KB of keys and values in tags
	maxPropertiesSize = 32768 // 32 KB each in desired and reported
	maxKeyBytes       = 1024
	maxStringBytes    = 4096
	maxDepth          = 10       // objects and arrays below a section
	minInteger        = -1 << 52 // integers fit a double's mantissa
	maxInteger        = 1<<52 - 1
)

// checkContent applies the rules on keys, values and nesting to what a client
// wants to merge into a section.
func checkContent(content map[string]any) error {
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
		return invalidArgument("Property or Tag name should be maximum %d bytes. Error in Property/Tag %s", maxKeyBytes, key)
	}
	forbidden := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(".$# ", r) }
	if strings.ContainsFunc(key, forbidden) {
		return invalidArgument("Property or Tag name has invalid characters. Error in Property/Tag %s. "+
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
			return invalidArgument("Property or Tag value in an array should not be null. Error in Property/Tag %s", key)
		}
	case string:
		if len(value) > maxStringBytes {
			return invalidArgument("Property or Tag value should be maximum %d bytes. Error in Property/Tag %s", maxStringBytes, key)
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
	return invalidArgument("Property or Tag nesting should be maximum %d levels. Error in Property/Tag %s", maxDepth, key)
}

// checkNumber refuses integers by value, however they are spelled, outside the
// range that a double holds exactly.
func checkNumber(key string, number json.Number) error {
	value, err := strconv.ParseFloat(number.String(), 64)
	outside := value == math.Trunc(value) && (value < minInteger || value > maxInteger)
	if errors.Is(err, strconv.ErrRange) || outside {
		return invalidArgument("Property or Tag integer value should be between %d and %d. Error in Property/Tag %s",
			int64(minInteger), int64(maxInteger), key)
	}
	if err != nil {
		return invalidArgument("Property or Tag value is no number. Error in Property/Tag %s", key)
	}
	return nil
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
