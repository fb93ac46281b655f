package fleet_test

import (
	"encoding/json"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// TestARevisionIsNamedByItsContent: the name stands in twins, and so it is the same in every
// release.
func TestARevisionIsNamedByItsContent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	name := func(declared twin.Document) string {
		revision, err := fleet.NewRevision(declared)
		g.Expect(err).NotTo(HaveOccurred())
		return revision.Name
	}
	thirty := twin.Document{Desired: map[string]any{"telemetryInterval": json.Number("30")}}
	g.Expect(name(thirty)).To(Equal("2f39ab7f05"))
	g.Expect(name(twin.Document{Tags: map[string]any{}, Desired: thirty.Desired})).To(Equal(name(thirty)), "an empty section declares nothing")
	g.Expect(name(twin.Document{Tags: thirty.Desired})).NotTo(Equal(name(thirty)), "the same leaf in the other section")
	g.Expect(name(twin.Document{Desired: map[string]any{"telemetryInterval": json.Number("31")}})).NotTo(Equal(name(thirty)))
	g.Expect(name(twin.Document{Desired: map[string]any{"telemetryInterval": "30"}})).NotTo(Equal(name(thirty)), "a text is no number")
}

func TestARevisionIsReadAsItWasKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		revision, err := fleet.NewRevision(document().Draw(t, "declared"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := revision.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := fleet.DecodeRevision(text)
		if err != nil {
			t.Fatal(err)
		}
		if read.Name != revision.Name || !twin.Equal(read.Declared, revision.Declared) {
			t.Fatalf("%s became %s: %s", revision.Name, read.Name, text)
		}
	})
}

func TestARevisionKeepsItsNumbersAsTheyAreSpelled(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	read, err := fleet.DecodeRevision([]byte(`{"desired":{"big":4503599627370495,"half":1.50}}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(read.Declared.Desired).To(Equal(map[string]any{"big": json.Number("4503599627370495"), "half": json.Number("1.50")}))
	_, err = fleet.DecodeRevision([]byte(`{"desired":[]}`))
	g.Expect(err).To(MatchError(HavePrefix("reading a revision: ")))
}
