package query_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestEscapes(t *testing.T) {
	t.Parallel()
	const refused = "refused"
	for _, tt := range []struct {
		literal                 string
		any, backslash, doubled string
	}{
		{`'plain'`, `plain`, `plain`, `plain`},
		{`'it''s'`, `it's`, refused, `it's`},
		{`'it\'s'`, `it's`, `it's`, refused},
		{`"say ""so"""`, `say "so"`, refused, `say "so"`},
		{`'a\\b'`, `a\b`, `a\b`, `a\\b`},
		{`'a\b'`, refused, refused, `a\b`},
		{`'\u0041'`, `A`, `A`, `\u0041`},
		{`"it's"`, `it's`, `it's`, `it's`},
		{`''`, ``, ``, ``},
	} {
		for escape, want := range map[query.Escape]string{
			query.AnyEscape: tt.any, query.BackslashEscape: tt.backslash, query.DoubledEscape: tt.doubled,
		} {
			g := NewWithT(t)
			q, err := escape.Parse(`SELECT * FROM devices WHERE tags.a = ` + tt.literal)
			if want == refused {
				g.Expect(err).To(HaveOccurred(), "%s under %d", tt.literal, escape)
				continue
			}
			g.Expect(err).NotTo(HaveOccurred(), "%s under %d", tt.literal, escape)
			g.Expect(q.Selects(query.Object{"tags": map[string]any{"a": want}})).To(BeTrue(), "%s under %d", tt.literal, escape)
		}
	}
}
