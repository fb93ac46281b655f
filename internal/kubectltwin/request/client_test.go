package request

import (
	"testing"

	. "github.com/onsi/gomega"
)

// TestRequestsHaveTheLabelsOfAShard and no others, by which a GitOps tool would take them for its own.
func TestRequestsHaveTheLabelsOfAShard(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	like := map[string]string{"iothub.devicetwin.io/shard": "a", "app.kubernetes.io/instance": "fleet", "zone": "1"}
	g.Expect(New(nil, Flags{}, like).labels).To(Equal(map[string]string{"iothub.devicetwin.io/shard": "a"}))
	g.Expect(New(nil, Flags{Labels: map[string]string{"zone": "1"}}, like).labels).To(Equal(map[string]string{"iothub.devicetwin.io/shard": "a", "zone": "1"}))
	g.Expect(New(nil, Flags{}, nil).labels).To(BeEmpty())
	g.Expect(like).To(HaveLen(3))
}
