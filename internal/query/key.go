package query

import (
	"crypto/sha256"
	encoding "encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
)

// The first byte of an encoded value; it also ends arrays and objects.
const (
	keyEnd byte = iota
	keyMissing
	keyNull
	keyFalse
	keyTrue
	keyNumber
	keyString
	keyArray
	keyObject
)

// appendKey appends an encoding of a value that is equal for equal values,
// however their numbers are spelled, and orders different ones byte by byte.
func appendKey(key []byte, value any, defined bool) []byte {
	if !defined {
		return append(key, keyMissing)
	}
	switch value := normalize(value).(type) {
	case nil:
		return append(key, keyNull)
	case bool:
		if value {
			return append(key, keyTrue)
		}
		return append(key, keyFalse)
	case float64:
		return appendNumber(append(key, keyNumber), value)
	case string:
		return appendString(append(key, keyString), value)
	case []any:
		key = append(key, keyArray)
		for _, element := range value {
			key = appendKey(key, element, true)
		}
		return append(key, keyEnd)
	case map[string]any:
		key = append(key, keyObject)
		for _, name := range slices.Sorted(maps.Keys(value)) {
			key = appendKey(appendString(append(key, keyString), name), value[name], true)
		}
		return append(key, keyEnd)
	default:
		return append(key, keyMissing)
	}
}

// appendNumber turns the bits of a double such that they order like numbers.
func appendNumber(key []byte, value float64) []byte {
	if value == 0 {
		value = 0 // and not minus zero
	}
	bits := math.Float64bits(value)
	if value < 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return encoding.BigEndian.AppendUint64(key, bits)
}

// appendString ends a string with a zero byte, which no other one then has
// alone: inside it is followed by 0xff.
func appendString(key []byte, value string) []byte {
	key = append(key, strings.ReplaceAll(value, "\x00", "\x00\xff")...)
	return append(key, 0)
}

const maxKey = 256 // bytes

// boundedKey shortens a key by putting a hash in place of its end.
func boundedKey(key []byte) []byte {
	if len(key) <= maxKey {
		return key
	}
	hash := sha256.Sum256(key)
	return append(key[:maxKey-len(hash)], hash[:]...)
}
