package shard_test

import (
	"maps"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/cache"

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
		g.Expect(s.Cached(cache.Options{}).ByObject).To(HaveLen(map[bool]int{true: 0, false: 5}[s.Whole()]))
	}
}

// TestNamespaces: they narrow what a manager holds, caches and lists, and name its Lease.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	selected, err := shard.Parse("shard=a")
	g.Expect(err).NotTo(HaveOccurred())
	leases := map[string]string{selected.Lease(base): "", base: ""}
	for _, tt := range []struct {
		text string
		of   shard.Shard
		want []string
	}{
		{"plant-a", shard.Shard{}, []string{"plant-a"}},
		{" plant-b, plant-a,plant-b", shard.Shard{}, []string{"plant-a", "plant-b"}},
		{"plant-a,plant-b", selected, []string{"plant-a", "plant-b"}},
	} {
		s, err := tt.of.In(tt.text)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(s.Namespaces()).To(Equal(tt.want))
		g.Expect(s.Whole()).To(BeFalse())
		g.Expect(s.Everywhere()).To(BeFalse())
		g.Expect(s.Labelled()).To(Equal(tt.of.Labelled()))
		g.Expect(s.Reaches("plant-c")).To(BeFalse())
		cached := s.Cached(cache.Options{})
		g.Expect(slices.Sorted(maps.Keys(cached.DefaultNamespaces))).To(Equal(tt.want))
		g.Expect(cached.ByObject).To(HaveLen(map[bool]int{true: 5}[s.Labelled()]))
		obj := &v1alpha1.DeviceTwin{}
		obj.Namespace, obj.Labels = "plant-a", map[string]string{"shard": "a"}
		g.Expect(s.Holds(obj)).To(BeTrue())
		obj.Namespace = "plant-c"
		g.Expect(s.Holds(obj)).To(BeFalse())
		g.Expect(leases).NotTo(HaveKey(s.Lease(base)), tt.text)
		leases[s.Lease(base)] = tt.text
	}
	g.Expect(leases).To(HaveKeyWithValue(base+"-1db2cf2c", "plant-a"), "it must not move")

	for _, all := range []string{"", " "} {
		s, err := selected.In(all)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(s).To(Equal(selected))
		g.Expect(s.Namespaces()).To(Equal([]string{metav1.NamespaceAll}))
		g.Expect(s.Reaches("plant-c")).To(BeTrue())
	}
}

func TestNamespacesThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		",":         `"" in "," is not the name of a namespace`,
		"a,,b":      `"" in "a,,b" is not the name of a namespace`,
		"a,Plant":   `"Plant" in "a,Plant" is not the name of a namespace: a lowercase RFC 1123 label`,
		"plant.one": `"plant.one" in "plant.one" is not`,
		"*":         `"*" in "*" is not`,
	} {
		_, err := shard.Shard{}.In(text)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)), text)
	}
}
