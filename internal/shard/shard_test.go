package shard_test

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

const base = "devicetwin-operator.iothub.devicetwin.io"

// Managers that ask for the same share a Lease, others do not.
func TestLeaseFollowsTheMeaning(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	leases := map[string]string{}
	for _, same := range [][]string{
		{"", "  "},
		{"a=1", " a == 1 ", "a in (1)", "a=1,a=1"},
		{"a!=1", "a notin (1)"},
		{"a in (1,2),b", "b, a in ( 2, 1 )"},
		{"a=1,b=2", "b=2,a in (1)"},
		{"a=2"}, {"b=1"}, {"a"}, {"!a"}, {"a in (1,2)"}, {"a notin (1,2)"}, {"a="},
	} {
		first, err := shard.Parse(same[0])
		g.Expect(err).NotTo(HaveOccurred())
		lease := first.Lease(base)
		g.Expect(leases).NotTo(HaveKey(lease), same[0])
		leases[lease] = same[0]
		g.Expect(validation.IsDNS1123Subdomain(lease)).To(BeEmpty())
		for _, text := range same[1:] {
			other, err := shard.Parse(text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(other.Lease(base)).To(Equal(lease), "%q and %q", text, same[0])
			g.Expect(other.String()).To(Equal(first.String()))
		}
		again, err := shard.Parse(first.String())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(again.String()).To(Equal(first.String()), "what is printed can be read")
	}
	g.Expect(leases).To(HaveKeyWithValue(base, ""), "as it was before there were shards")
	// Managers of two versions share it, too: it must not move.
	one, err := shard.Parse("iothub.devicetwin.io/shard=a")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(one.Lease(base)).To(Equal(base + "-38a145ff"))
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a=b=c":    "found '='",
		"shard/":   "name part must be non-empty",
		"a in b":   "found 'b'",
		"a=ä":      "a valid label must be",
		"a,,b":     "found ','",
		"a in (b,": "found ''",
	} {
		_, err := shard.Parse(text)
		NewWithT(t).Expect(err).To(MatchError(And(ContainSubstring("is no label selector"), ContainSubstring(want))), text)
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	labelled, bare := &v1alpha1.DeviceTwin{}, &v1alpha1.DeviceTwin{}
	labelled.Labels = map[string]string{"shard": "a"}
	for text, want := range map[string][2]bool{
		"": {true, true}, "shard=a": {true, false}, "!shard": {false, true}, "shard=b": {false, false}, "shard!=b": {true, true},
	} {
		s, err := shard.Parse(text)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect([2]bool{s.Holds(labelled), s.Holds(bare)}).To(Equal(want), text)
		g.Expect(s.Whole()).To(Equal(text == ""))
		g.Expect(s.Cached()).To(HaveLen(map[bool]int{true: 0, false: 3}[s.Whole()]))
	}
}
