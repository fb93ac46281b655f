package service

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

func TestEveryRouteNamesItsDataActions(t *testing.T) {
	t.Parallel()
	for _, r := range routes {
		g := NewWithT(t)
		g.Expect(r.actions).NotTo(BeEmpty(), "%s needs data actions, or entra.SASOnly if it takes no Entra token", r.name)
		if r.actions[0] == entra.SASOnly {
			g.Expect(r.actions).To(HaveLen(1), r.name)
			continue
		}
		for _, action := range r.actions {
			g.Expect(action.Known()).To(BeTrue(), "%s needs %q, which no role can grant", r.name, action)
		}
	}
}

func TestEveryRouteIsComplete(t *testing.T) {
	t.Parallel()
	names, calls := map[string]bool{}, map[string]bool{}
	for _, r := range routes {
		g := NewWithT(t)
		g.Expect(r.name).NotTo(BeEmpty(), r.pattern)
		g.Expect(names).NotTo(HaveKey(r.name))
		g.Expect(calls).NotTo(HaveKey(r.method+" "+r.pattern), r.name)
		names[r.name], calls[r.method+" "+r.pattern] = true, true

		g.Expect(r.method).NotTo(BeEmpty(), r.name)
		g.Expect(r.run).NotTo(BeNil(), r.name)
		g.Expect(r.permission).NotTo(BeZero(), r.name)
		g.Expect(r.throttle.String()).NotTo(BeEmpty(), "%s needs an operation type, which needs a name", r.name)
		g.Expect(r.billing).NotTo(BeZero(), "%s needs a billing, which may be free", r.name)
	}
}

// IoT Hub's documents say what is billed, and what is chosen of permissions, by
// the kind of an operation, as its throttles do.
func TestRoutesOfOneThrottleAgree(t *testing.T) {
	t.Parallel()
	first := map[throttle.Type]route{}
	for _, r := range routes {
		g := NewWithT(t)
		other, known := first[r.throttle]
		if !known {
			first[r.throttle] = r
			continue
		}
		g.Expect(r.billing).To(Equal(other.billing), "the billing of %s and %s", r.name, other.name)
		g.Expect(r.rights == nil).To(Equal(other.rights == nil), "the rights of %s and %s", r.name, other.name)
		g.Expect(r.readsTwin).To(Equal(other.readsTwin), "whether %s and %s read a twin", r.name, other.name)
		if r.name != "testConfigurationQueries" { // reads what is in its body
			g.Expect(r.method == http.MethodGet).To(Equal(other.method == http.MethodGet), "whether %s and %s read", r.name, other.name)
		}
		g.Expect(r.queries).To(Equal(other.queries), "whether %s and %s query", r.name, other.name)
	}
}

func TestDirectMethodsTakeSharesByTheirSize(t *testing.T) {
	t.Parallel()
	for _, r := range routes {
		if r.throttle != throttle.DirectMethod {
			continue
		}
		g := NewWithT(t)
		g.Expect(r.shares).NotTo(BeNil(), r.name)
		g.Expect(r.shares(&handler{}, call{body: make([]byte, 4097)})).To(Equal(2), r.name)
	}
}

func TestFewestPlaceholdersWin(t *testing.T) {
	t.Parallel()
	for id, operation := range map[string]string{"query": "queryJobs", "QUERY": "queryJobs", "j1": "getJob"} {
		g := NewWithT(t)
		found, err := findRoute(http.MethodGet, []string{"jobs", "v2", id})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(found.name).To(Equal(operation), id)
	}
}
