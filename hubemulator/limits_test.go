package hubemulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

func nested(levels int, innermost string) string {
	return strings.Repeat(`{"o":`, levels) + innermost + strings.Repeat("}", levels)
}

func TestContentLimits(t *testing.T) {
	t.Parallel()
	const badName = "Property or Tag name has invalid characters. Error in Property/Tag %s. Must not contain Control Characters, '.', '$', '#', or ' '."
	const integer = "Property or Tag integer value should be between -4503599627370496 and 4503599627370495. Error in Property/Tag a"
	const depth = "Property or Tag nesting should be maximum 10 levels. Error in Property/Tag o"
	const inArray = "Property or Tag value in an array should not be null. Error in Property/Tag "
	for _, tt := range []struct {
		name, section string
		refusal       string // empty when accepted
	}{
		{"dot", `{"a.b":1}`, fmt.Sprintf(badName, "a.b")},
		{"dollar", `{"a":{"$b":1}}`, fmt.Sprintf(badName, "$b")},
		{"hash, though undocumented", `{"a#":1}`, fmt.Sprintf(badName, "a#")},
		{"space", `{"a b":1}`, fmt.Sprintf(badName, "a b")},
		{"C0 control", `{"a\u0001":1}`, fmt.Sprintf(badName, "a\u0001")},
		{"C1 control", `{"a\u0085":1}`, fmt.Sprintf(badName, "a\u0085")},
		{"a bad name inside an array", `{"a":[{"b.c":1}]}`, fmt.Sprintf(badName, "b.c")},
		{"other characters", `{"é-_/[]:":1}`, ""},
		{"the empty name", `{"":1}`, ""},
		{"longest name", `{"` + strings.Repeat("k", 1024) + `":1}`, ""},
		{"too long a name, in bytes", `{"` + strings.Repeat("k", 1023) + `é":1}`,
			"Property or Tag name should be maximum 1024 bytes. Error in Property/Tag " + strings.Repeat("k", 1023) + "é"},

		{"longest string", `{"a":"` + strings.Repeat("v", 4096) + `"}`, ""},
		{"too long a string, in bytes", `{"a":"` + strings.Repeat("v", 4095) + `é"}`,
			"Property or Tag value should be maximum 4096 bytes. Error in Property/Tag a"},

		{"largest integer", `{"a":4503599627370495}`, ""},
		{"smallest integer", `{"a":-4503599627370496}`, ""},
		{"past the largest", `{"a":4503599627370496}`, integer},
		{"past the smallest", `{"a":-4503599627370497}`, integer},
		{"an integer in disguise", `{"a":1e20}`, integer},
		{"another", `{"a":4503599627370496.0}`, integer},
		{"beyond any double", `{"a":1e999}`, integer},
		{"a large fraction", `{"a":4503599627370495.5}`, ""},
		{"tiny", `{"a":1e-300}`, ""},

		{"deepest object", nested(10, `{"s":1}`), ""},
		{"too deep an object", nested(10, `{"o":{}}`), depth},
		{"deepest array", nested(9, `{"o":[1]}`), ""},
		{"too deep an array", nested(10, `{"o":[]}`), depth},
		{"too deep an object in an array", nested(9, `{"o":[{}]}`), depth},

		{"null in an array", `{"a":[1,null]}`, inArray + "a"},
		{"null in an object in an array", `{"a":[{"b":null}]}`, inArray + "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			for _, body := range []string{`{"tags":` + tt.section + `}`, `{"properties":{"desired":` + tt.section + `}}`} {
				answer := h.call(t, http.MethodPatch, "/twins/d1", body)
				if tt.refusal == "" {
					g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
					continue
				}
				expectError(t, answer, http.StatusBadRequest, "ArgumentInvalid", tt.refusal)
			}
		})
	}
}

// filler makes properties that count size in all: names of 4 characters,
// strings of up to 4000, and a number for the rest below a string's name.
func filler(size int) string {
	var members []string
	for i := 0; size > 0; i++ {
		length := min(size-4, 4000)
		if rest := size - 4 - length; rest > 0 && rest < 4 {
			length -= 4
		}
		members = append(members, fmt.Sprintf(`"k%03d":"%s"`, i, strings.Repeat("v", length)))
		size -= 4 + length
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestSizeLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		section, body string
		limit         int
	}{
		{"Tags", `{"tags":%s}`, 8192},
		{"Properties.Desired", `{"properties":{"desired":%s}}`, 32768},
	} {
		t.Run(tt.section, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, "d1")
			refusal := fmt.Sprintf("'%s' size should be less than %d bytes.", tt.section, tt.limit)
			expectError(t, h.call(t, http.MethodPatch, "/twins/d1", fmt.Sprintf(tt.body, filler(tt.limit+1))),
				http.StatusForbidden, "DeviceModelMaxPropertiesExceeded", refusal)
			h.ok(t, http.MethodPatch, "/twins/d1", fmt.Sprintf(tt.body, filler(tt.limit)))
			expectError(t, h.call(t, http.MethodPatch, "/twins/d1", fmt.Sprintf(tt.body, `{"x":true}`)),
				http.StatusForbidden, "DeviceModelMaxPropertiesExceeded", refusal)
			h.ok(t, http.MethodPatch, "/twins/d1", fmt.Sprintf(tt.body, `{"k000":null,"x":true}`))
		})
	}
}

// What counts: characters without controls, 8 for a number, 4 for a boolean,
// nothing for an object or an array itself.
func TestSizeAccounting(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, members string
		size          int
	}{
		{"characters, not bytes", `"é":"éé"`, 3},
		{"control characters", `"a":"\u0001\u0085b"`, 2},
		{"numbers", `"a":1.25`, 9},
		{"booleans", `"a":true`, 5},
		{"objects", `"ab":{"c":1,"d":{}}`, 12},
		{"arrays", `"a":[1,"xy",[true]]`, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHub(t, "d1")
			h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{`+tt.members+`}}`)
			fits := h.call(t, http.MethodPatch, "/twins/d1", `{"tags":`+filler(8192-tt.size)+`}`)
			g.Expect(fits.status).To(Equal(http.StatusOK), fits.text)
			g.Expect(h.call(t, http.MethodPatch, "/twins/d1", `{"tags":{"":{"z":{}}}}`).status).To(Equal(http.StatusForbidden))
		})
	}
}
