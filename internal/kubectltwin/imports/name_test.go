package imports

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for id, want := range map[[2]string]string{
		{"thermostat-1"}:        "thermostat-1",
		{"plant.line7.press"}:   "plant.line7.press",
		{"Thermostat-1"}:        "thermostat-1-ddae6d40",
		{"press:7"}:             "press-7-54800e68",
		{"kustomization"}:       "kustomization-59ee4301",
		{"$"}:                   "device-09fc9608",
		{"thermostat-1", "mod"}: "thermostat-1-mod-3036e01e",
	} {
		got := nameOf(id[0], id[1])
		g.Expect(got).To(Equal(want), "%v", id)
		g.Expect(apivalidation.NameIsDNSSubdomain(got, false)).To(BeEmpty(), got)
	}
}

// TestNamesAreNames, the same each time, and of different ids different ones.
func TestNamesAreNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := NewWithT(t)
		id := func(label string) string {
			return rapid.StringMatching(`[A-Za-z0-9\-.+%_#*?!(),:;=@$']{1,128}`).Draw(t, label)
		}
		one, other := id("one"), id("other")
		if rapid.Bool().Draw(t, "alike") {
			other = strings.ToUpper(one)
		}
		name := nameOf(one, "")
		g.Expect(apivalidation.NameIsDNSSubdomain(name, false)).To(BeEmpty(), name)
		g.Expect(nameOf(one, "")).To(Equal(name))
		g.Expect(nameOf(one, "m")).NotTo(Equal(name))
		if one != other {
			g.Expect(nameOf(other, "")).NotTo(Equal(name))
		}
	})
}
