package hub

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// TestBatchesFitInAQuery: of the longest ids, with the worst to escape, beside conditions of all lengths.
func TestBatchesFitInAQuery(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	devices := slices.Repeat([]string{strings.Repeat("'", 128), "a"}, 60)
	for length := range query.MaxLength {
		where := strings.Repeat("x", length)
		batches := Batches(devices, where)
		if len(batches) == 0 {
			g.Expect(length).To(BeNumerically(">", 6000), "there was room for an id")
			continue
		}
		g.Expect(slices.Concat(batches...)).To(Equal(devices))
		longest := 0
		for _, batch := range batches {
			g.Expect(len(batch)).To(BeNumerically("<=", PageRows))
			longest = max(longest, len(query.In("deviceId", batch[0], batch[1:]...).String()))
		}
		g.Expect(len("SELECT deviceId, moduleId FROM devices.modules WHERE  AND ()") + length + longest).To(BeNumerically("<=", query.MaxLength))
	}
	g.Expect(Batches(slices.Repeat([]string{"a"}, 201), "")).To(HaveLen(3))
}
