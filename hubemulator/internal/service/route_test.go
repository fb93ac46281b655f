package service

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
)

func TestEveryRouteNamesItsDataActions(t *testing.T) {
	t.Parallel()
	for _, r := range routes {
		g := NewWithT(t)
		g.Expect(r.actions).NotTo(BeEmpty(), "%s needs data actions, or entra.SASOnly if it takes no Entra token", r.operation)
		if r.actions[0] == entra.SASOnly {
			g.Expect(r.actions).To(HaveLen(1), r.operation)
			continue
		}
		for _, action := range r.actions {
			g.Expect(action.Known()).To(BeTrue(), "%s needs %q, which no role can grant", r.operation, action)
		}
	}
}
