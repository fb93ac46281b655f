package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// elector is a manager of a shard that stands for election in the namespace default.
type elector struct {
	ctrl.Manager
	stop func()
}

func elect(t *testing.T, config *rest.Config, selector string) elector {
	t.Helper()
	g := NewWithT(t)
	part, err := shard.Parse(selector)
	g.Expect(err).NotTo(HaveOccurred())
	scheme, err := newScheme()
	g.Expect(err).NotTo(HaveOccurred())
	opts := options{metricsAddress: "0", probeAddress: "0", leaderElect: true, election: election{
		namespace: "default", lease: 15 * time.Second, renew: 10 * time.Second, retry: 2 * time.Second,
	}}
	lock, err := opts.lock(config, part.Lease(leaderElectionID))
	g.Expect(err).NotTo(HaveOccurred())
	mgr, err := ctrl.NewManager(config, managerOptions(opts, part, scheme, nil, lock))
	g.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop := func() {
		cancel()
		if ended != nil {
			g.Expect(<-ended).To(Succeed())
		}
		ended = nil
	}
	t.Cleanup(stop)
	return elector{mgr, stop}
}

// TestEachShardHasALeader: managers of one selector, however it is spelled, elect one;
// those of others, and of the whole fleet, act at the same time.
func TestEachShardHasALeader(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	env, err := testenv.Start(testenv.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(env.Stop()).To(Succeed()) })

	first := elect(t, env.Config(), "shard in (a),tier!=test")
	g.Eventually(first.Elected(), "30s").Should(BeClosed())
	standby := elect(t, env.Config(), "tier notin (test), shard==a")
	other := elect(t, env.Config(), "shard=b")
	whole := elect(t, env.Config(), "")
	g.Eventually(other.Elected(), "30s").Should(BeClosed())
	g.Eventually(whole.Elected(), "30s").Should(BeClosed())
	g.Consistently(standby.Elected(), "3s").ShouldNot(BeClosed())

	var leases coordinationv1.LeaseList
	g.Expect(whole.GetAPIReader().List(t.Context(), &leases, client.InNamespace("default"))).To(Succeed())
	holders := map[string]string{}
	for _, lease := range leases.Items {
		holders[*lease.Spec.HolderIdentity] = lease.Name
	}
	g.Expect(holders).To(HaveLen(3), "all three are held, by different managers")
	g.Expect(holders).To(ContainElement(leaderElectionID))

	first.stop()
	g.Eventually(standby.Elected(), "30s").Should(BeClosed())
}

// TestTheCacheHoldsTheShard, and of other kinds everything.
func TestTheCacheHoldsTheShard(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	part, err := shard.Parse("shard=a")
	g.Expect(err).NotTo(HaveOccurred())
	kinds := map[string]string{}
	for kind, narrowed := range managerOptions(options{}, part, nil, nil, nil).Cache.ByObject {
		kinds[fmt.Sprintf("%T", kind)] = narrowed.Label.String()
	}
	g.Expect(kinds).To(Equal(map[string]string{
		"*v1alpha1.HubConnection": "shard=a", "*v1alpha1.DeviceTwin": "shard=a", "*v1alpha1.TwinQuery": "shard=a",
		"*v1alpha1.TwinRequest": "shard=a", "*v1alpha1.DeviceTwinSet": "shard=a",
	}))
	g.Expect(managerOptions(options{}, shard.Shard{}, nil, nil, nil).Cache.ByObject).To(BeEmpty())
}

func TestASelectorThatIsNone(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), options{selector: "a=b=c"})
	NewWithT(t).Expect(err).To(MatchError(And(ContainSubstring("--watch-label-selector: "), ContainSubstring(`"a=b=c" is no label selector`))))
}

// TestNamespacesThatAreNone: a list that is wrong in part must not become all namespaces.
func TestNamespacesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"plant-a,Plant-B", ",", "plant-a,,plant-b", "*"} {
		err := run(t.Context(), options{namespaces: text})
		NewWithT(t).Expect(err).To(MatchError(And(ContainSubstring("--watch-namespaces: "), ContainSubstring("%q", text), ContainSubstring("is not the name of a namespace"))))
	}
}

// TestTheCacheHoldsTheNamespaces, beside a shard's labels or without any.
func TestTheCacheHoldsTheNamespaces(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for selector, kinds := range map[string]int{"": 0, "shard=a": 5} {
		part, err := options{selector: selector, namespaces: "plant-b, plant-a"}.shard()
		g.Expect(err).NotTo(HaveOccurred())
		made := managerOptions(options{}, part, nil, nil, nil)
		g.Expect(slices.Sorted(maps.Keys(made.Cache.DefaultNamespaces))).To(Equal([]string{"plant-a", "plant-b"}))
		g.Expect(made.Cache.ByObject).To(HaveLen(kinds))
		g.Expect(made.LeaderElectionID).To(Equal(part.Lease(leaderElectionID)))
	}
}
