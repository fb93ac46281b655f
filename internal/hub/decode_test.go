package hub

import (
	"bytes"
	stdjson "encoding/json"
	"reflect"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
)

// someJSON is JSON as hubs and what stands before them may send it, some of it spoiled.
func someJSON() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		text := someValue(3).Draw(t, "value")
		switch at := rapid.IntRange(0, len(text)).Draw(t, "at"); rapid.IntRange(0, 5).Draw(t, "spoiled") {
		case 0:
			return text[:at]
		case 1:
			return text[:at] + rapid.SampledFrom([]string{"{", "]", ",", ":", `"`, "\xff", "\x00", "1", "null"}).Draw(t, "inserted") + text[at:]
		}
		return text
	})
}

func someValue(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		if depth == 0 || kind < 3 {
			return rapid.SampledFrom([]string{
				"null", "true", "false", `""`, `"caf\u00e9 \ud83d\ude00 \ud800"`, "\"\xff\"", `"\/\n"`, "0", "-0", "1.50", "1e400", "4503599627370497",
			}).Draw(t, "scalar")
		}
		below := rapid.SliceOfN(someValue(depth-1), 0, 3).Draw(t, "below")
		if kind == 3 {
			return " [" + strings.Join(below, " ,\t") + "] "
		}
		for i := range below {
			below[i] = rapid.SampledFrom([]string{`"a"`, `"A"`, `"$version"`, `"\u0061"`, `""`}).Draw(t, "name") + ": " + below[i]
		}
		return "{" + strings.Join(below, ",\n") + "}"
	})
}

// TestAnswersAreReadAsEncodingJSONReadsThem, to the last number and the last of two members of one name.
func TestAnswersAreReadAsEncodingJSONReadsThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := `{"any":` + someJSON().Draw(t, "text") + "}"
		var want map[string]any
		decoder := stdjson.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		wanted := decoder.Decode(&want) == nil && len(bytes.TrimSpace([]byte(text)[decoder.InputOffset():])) == 0
		var got members
		switch err := decode([]byte(text), &got); {
		case (err == nil) != wanted:
			t.Fatalf("%s: encoding/json reads it: %t, and decode says %v", text, wanted, err)
		case wanted && !reflect.DeepEqual(map[string]any(got), want):
			t.Fatalf("%s is %#v, and is read as %#v", text, want, got)
		}
	})
}

func TestASectionOfATwin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]section{
		`null`:                       {members: members{}},
		`{}`:                         {members: members{}},
		`{"n":1,"n":{"$version":2}}`: {members: members{"n": map[string]any{"$version": stdjson.Number("2")}}},
		`{"$version":3,"$metadata":{"n":{}},"n":null}`: {
			members: members{"n": nil}, metadata: []byte(`{"n":{}}`), version: stdjson.Number("3"),
		},
		`{"$version":"3","$metadata":4}`: {members: members{}, metadata: []byte("4"), version: "3"},
	} {
		g := NewWithT(t)
		got := section{members: members{"of": "another row"}}
		g.Expect(decode([]byte(text), &got)).To(Succeed(), text)
		g.Expect(got).To(Equal(want), text)
	}
	for _, text := range []string{``, `5`, `[]`, `"{}"`, `{"n"}`, `{"n":1`, `{"n":1,}`, `{1:2}`, `{}{}`, strings.Repeat(`{"n":`, 1<<20)} {
		NewWithT(t).Expect(decode([]byte(text), new(section))).NotTo(Succeed(), "%.20s", text)
	}
}
