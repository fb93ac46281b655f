package monitoring

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestSelectorsOfAnExpression(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string][]Selector{
		`up`: {{Metric: "up"}},
		`sum by (host, le) (rate(a_bucket{host=~"x(y)|{z}",code!~"2.."}[5m])) > 0.05`: {{Metric: "a_bucket", Labels: []string{"host", "code"}}},
		`max by (n) (a{n="or"}) == 0 or absent(b{n!="\"}"}) and on () hour() < 22`:    {{Metric: "a", Labels: []string{"n"}}, {Metric: "b", Labels: []string{"n"}}},
		`sum by (n) (a) / on (n) group_left sum by (n) (b)`:                           {{Metric: "a"}, {Metric: "b"}},
		`1 - min(a) or vector(0)`: {{Metric: "a"}},
	} {
		NewWithT(t).Expect(Selectors(expr)).To(Equal(want), expr)
	}
	g := NewWithT(t)
	g.Expect(Grouped(`sum by (host, le) (a{b="by (c)"}) and on () sum by(host) (d)`)).To(Equal([]string{"host", "le"}))
	g.Expect(Selector{Metric: "a_seconds_bucket"}.Family()).To(Equal("a_seconds"))
	g.Expect(Selector{Metric: "a_total"}.Family()).To(Equal("a_total"))
}
