package query_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	condition, err := query.ParseCondition("tags.a = 1 and not (tags.b > 2 OR is_defined(tags.[[from]])) and deviceId in ['x','y']")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(condition.Explain()).To(Equal("AND\n" +
		"  tags.a = 1\n" +
		"  NOT\n" +
		"    OR\n" +
		"      tags.b > 2\n" +
		"      IS_DEFINED(tags.[[from]])\n" +
		"  deviceId IN ['x', 'y']"))
	g.Expect(query.PathText("tags", "cost-center", "a")).To(Equal("tags.[[cost-center]].a"))
}
