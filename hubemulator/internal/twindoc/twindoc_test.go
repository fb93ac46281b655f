package twindoc_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

var created = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var decoded map[string]any
	if err := twindoc.ParseJSON([]byte(text), &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func text(s twindoc.Section) string {
	return string(twindoc.Object{}.With("s", s).AppendJSON(nil))
}

// Only what a write touches gets its time and version, and what there was before
// stays as it was.
func TestMergeStampsWhatItWrites(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	common := twindoc.NewCommon()
	empty := twindoc.NewSection(created)
	first := empty.Merged(object(t, `{"a":{"b":1,"c":2},"d":3}`), twindoc.NewWrite(created.Add(time.Second), 2, common), 2)
	before := text(first)
	second := first.Merged(object(t, `{"a":{"b":null,"e":[]}}`), twindoc.NewWrite(created.Add(2*time.Second), 3, common), 3)
	g.Expect(text(second)).To(Equal(`{"s":{"a":{"c":2,"e":[]},"d":3,"$metadata":` +
		`{"$lastUpdated":"2026-11-20T10:00:02Z","$lastUpdatedVersion":3,` +
		`"a":{"$lastUpdated":"2026-11-20T10:00:02Z","$lastUpdatedVersion":3,` +
		`"c":{"$lastUpdated":"2026-11-20T10:00:01Z","$lastUpdatedVersion":2},` +
		`"e":{"$lastUpdated":"2026-11-20T10:00:02Z","$lastUpdatedVersion":3}},` +
		`"d":{"$lastUpdated":"2026-11-20T10:00:01Z","$lastUpdatedVersion":2}},"$version":3}}`))
	g.Expect(text(first)).To(Equal(before))
	g.Expect(text(empty)).To(Equal(`{"s":{"$metadata":{"$lastUpdated":"2026-11-20T10:00:00Z"},"$version":1}}`))
	g.Expect(second.Root().Names()).To(Equal([]string{"a", "d"}))
	g.Expect(second.Root().Object("a").Has("e")).To(BeTrue())
	g.Expect(second.Root().Object("d").Empty()).To(BeTrue(), "it is no object")
}

// A property is the part of the document at its path, however deep.
func TestPropertiesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := twindoc.NewSection(created).Merged(object(t, `{"a":{"b":{"c":1}}}`), twindoc.NewWrite(created, 2, twindoc.NewCommon()), 2)
	whole, _ := s.Property(nil)
	for _, path := range []string{"a", "a.b", "a.b.c", "$version", "$metadata", "$metadata.a.b", "$metadata.a.b.$lastUpdated", "x", "a.b.c.d", "$metadata.a.x"} {
		got, found := s.Property(strings.Split(path, "."))
		want, expected := twindoc.Below(whole, strings.Split(path, "."))
		g.Expect(found).To(Equal(expected), path)
		if found {
			g.Expect(got).To(Equal(want), path)
		}
	}
}

func TestASavedSectionIsTheSameAgain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	common := twindoc.NewCommon()
	s := twindoc.NewSection(created).Merged(object(t, `{"a":{"b":1},"c":"x"}`), twindoc.NewWrite(created.Add(time.Second), 2, common), 2).
		WrittenBy(map[string]twindoc.Author{"a.b": {Configuration: "rollout", Digest: "1"}})
	file, err := json.Marshal(s.Saved())
	g.Expect(err).NotTo(HaveOccurred())
	var saved twindoc.SavedSection
	g.Expect(twindoc.ParseJSON(file, &saved)).To(Succeed())
	again, err := saved.Section(common)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(text(again)).To(Equal(text(s)))
	g.Expect(text(again)).To(ContainSubstring(`"$lastUpdatedBy":"rollout"`))
}

func TestRefusalsSayOfWhatKindTheyAre(t *testing.T) {
	t.Parallel()
	for body, malformed := range map[string]bool{
		`{`:                     true,
		`{} {}`:                 true,
		`null`:                  true,
		`{"tags":1}`:            false,
		`{"tags":null}`:         false,
		`{"tags":{"a b":1}}`:    false,
		`{"tags":{"a":[null]}}`: false,
		`{"properties":{"desired":{"a":4503599627370496}}}`: false,
	} {
		g := NewWithT(t)
		wanted, err := twindoc.ParseChange([]byte(body), twindoc.RefuseNullTags)
		if err == nil {
			err = wanted.Check()
		}
		refused, isRefusal := errors.AsType[*twindoc.Error](err)
		g.Expect(isRefusal).To(BeTrue(), body)
		g.Expect(refused.Malformed).To(Equal(malformed), body)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	tree := (*twindoc.Tree)(nil).Merged(object(t, `{"ab":"c\u0001d","n":{"é":1,"t":true},"l":["x",2]}`), twindoc.NewWrite(created, 0, twindoc.NewCommon()))
	g.Expect(tree.Size(false)).To(Equal(2 + 2 + 1 + 1 + 8 + 1 + 4 + 1 + 1 + 8))
	g.Expect(tree.Size(true)).To(Equal(2 + 2 + 1 + 1 + 8 + 1 + 4 + 1 + len(`["x",2]`)))
	g.Expect((*twindoc.Tree)(nil).Size(false)).To(BeZero())
}
