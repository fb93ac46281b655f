package twin_test

import (
	"encoding/json"
	"slices"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		held, patch string
		want        []string
	}{
		"nothing":                          {`{"a":1}`, `{}`, nil},
		"a leaf is written":                {`{}`, `{"a":1}`, []string{"tags.a: - -> 1"}},
		"a leaf is replaced":               {`{"a":1,"b":2}`, `{"a":2}`, []string{"tags.a: 1 -> 2"}},
		"a leaf is deleted":                {`{"a":1}`, `{"a":null}`, []string{"tags.a: 1 -> -"}},
		"deleted and not there":            {`{}`, `{"a":null}`, nil},
		"arrays are leaves":                {`{"a":[1]}`, `{"a":[1,2]}`, []string{"tags.a: [1] -> [1,2]"}},
		"an object is written":             {`{}`, `{"o":{"b":1,"c":{}}}`, []string{"tags.o.b: - -> 1", "tags.o.c: - -> {}"}},
		"an object is changed":             {`{"o":{"b":1,"x":9}}`, `{"o":{"b":2}}`, []string{"tags.o.b: 1 -> 2"}},
		"an object is deleted":             {`{"o":{"b":1,"c":{"d":2}}}`, `{"o":null}`, []string{"tags.o.b: 1 -> -", "tags.o.c.d: 2 -> -"}},
		"an empty object is deleted":       {`{"o":{}}`, `{"o":null}`, []string{"tags.o: {} -> -"}},
		"an object in the place of a leaf": {`{"a":1}`, `{"a":{"b":2,"c":null}}`, []string{`tags.a: 1 -> {"b":2}`}},
		"a leaf in the place of an object": {`{"a":{"b":2}}`, `{"a":1}`, []string{`tags.a: {"b":2} -> 1`}},
		"an empty patch of an object":      {`{"a":{"b":2}}`, `{"a":{}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var got []string
			for change := range twin.Changes(twin.Document{Tags: asSection(t, tt.held)}, twin.Document{Tags: asSection(t, tt.patch)}) {
				got = append(got, change.Path.String()+": "+spelled(g, change.Before)+" -> "+spelled(g, change.After))
			}
			g.Expect(got).To(Equal(tt.want))
		})
	}
}

func spelled(g *WithT, value any) string {
	if value == nil {
		return "-"
	}
	text, err := json.Marshal(value)
	g.Expect(err).NotTo(HaveOccurred())
	return string(text)
}

func TestChangesOfBothSectionsMayEnd(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	all := twin.Changes(twin.Document{}, twin.Document{Tags: map[string]any{"a": 1, "b": 2}, Desired: map[string]any{"c": 3}})
	g.Expect(slices.Collect(all)).To(HaveLen(3))
	for change := range all {
		g.Expect(change.Path.Dotted()).To(Equal("tags.a"))
		break
	}
}

func asSection(t *testing.T, text string) map[string]any {
	t.Helper()
	section, err := twin.ParseSection([]byte(text))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return section
}
