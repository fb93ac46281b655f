package query_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestProjection(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	read, err := query.ParseProjection([]string{"devices.Tags.location", "tags.[[cost-center]]", "properties.desired.$metadata"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(read.Columns()).To(Equal("tags.location AS column1, tags.[[cost-center]] AS column2, properties.desired.$metadata AS column3"))
	g.Expect(read.Names("$metadata")).To(BeTrue())
	g.Expect(read.Names("$version")).To(BeFalse())
	g.Expect(read.Whole()).To(BeFalse())
	g.Expect(read.Place(map[string]any{"column1": "a", "column2": 7, "other": true})).To(Equal(map[string]any{
		"tags": map[string]any{"location": "a", "cost-center": 7},
	}))
	for _, text := range []string{read.Columns()} {
		_, err := query.Parse("SELECT " + text + " FROM devices")
		g.Expect(err).NotTo(HaveOccurred())
	}
}

func TestProjectionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		paths []string
		index int
		want  string
	}{
		"no path":       {[]string{"tags", "1"}, 1, `column 1: expected the name of a property, found "1"`},
		"a condition":   {[]string{"tags.a = 1"}, 0, `column 8: expected a dot or the end of the path, found "="`},
		"a reserved":    {[]string{"tags.from"}, 0, `column 6: expected the name of a property, found "from"; a property of that name is written [[from]]`},
		"twice":         {[]string{"tags.a", "Tags.a"}, 1, "selects some of what tags.a selects, or all of it: leave one of them out"},
		"below another": {[]string{"tags", "deviceId", "tags.a"}, 2, "selects some of what tags selects, or all of it: leave one of them out"},
		"above another": {[]string{"tags.a", "tags"}, 1, "selects some of what tags.a selects, or all of it: leave one of them out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := query.ParseProjection(tt.paths)
			g.Expect(err).To(Equal(&query.ProjectionError{Index: tt.index, Problem: tt.want}))
		})
	}
}
