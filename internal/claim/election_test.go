package claim

import (
	"context"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

const electionHost = "hub.azure-devices.net"

// rivalTwin makes a DeviceTwin of device d1 as the API server holds it.
func rivalTwin(name, uid string, change func(*v1alpha1.DeviceTwin)) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name, UID: types.UID(uid)}}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", "d1"
	obj.Spec.Tags = &runtime.RawExtension{Raw: []byte(`{"a":1}`)}
	if change != nil {
		change(obj)
	}
	return obj
}

// electorate are claims after a start: nothing is held yet. Of the HubConnections,
// unseen has not been reconciled, and unready has no session.
func electorate(t *testing.T, twins ...*v1alpha1.DeviceTwin) *Claims {
	t.Helper()
	scheme := runtime.NewScheme()
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for index, bucket := range fieldindex.ByID(hub.ID{Device: "d1"}) {
		builder = builder.WithIndex(&v1alpha1.DeviceTwin{}, index, func(client.Object) []string {
			return []string{bucket} // whatever the id is: any two may share a bucket
		})
	}
	known := map[types.NamespacedName]hubaccess.Connection{}
	for name, now := range map[string]*hubaccess.Connection{
		"hub":     {Session: sessions.To(electionHost, nil)},
		"again":   {Session: sessions.To(electionHost, nil)},
		"other":   {Session: sessions.To("other.azure-devices.net", nil)},
		"scoped":  {Session: sessions.To(electionHost, nil)},
		"named":   {Session: sessions.To(electionHost, nil)},
		"unready": {Why: v1alpha1.ReasonSecretNotFound},
		"unseen":  nil,
	} {
		conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name}}
		if name == "named" {
			conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "plant", DeviceIDPrefix: "d"}}
		}
		if name == "scoped" {
			conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "plant", DeviceIDPrefix: "line7-"}}
		}
		builder = builder.WithObjects(conn)
		if now != nil {
			known[client.ObjectKeyFromObject(conn)] = *now
		}
	}
	for _, obj := range twins {
		builder = builder.WithObjects(obj)
	}
	reader := builder.Build()
	hubs := hubaccess.New(reader, reader, shard.Shard{}, clock.RealClock{})
	for key, now := range known {
		hubs.Publish(t.Context(), key, now)
	}
	return New(reader, hubs, func(types.NamespacedName) {})
}

// TestElections: who keeps a twin that this process has not seen claimed yet.
func TestElections(t *testing.T) {
	t.Parallel()
	const target = electionHost + "/d1"
	recorded := func(o *v1alpha1.DeviceTwin) { o.Status.Target = target }
	through := func(hub string, record bool) func(*v1alpha1.DeviceTwin) {
		return func(o *v1alpha1.DeviceTwin) {
			o.Spec.HubRef.Name = hub
			if record {
				o.Status.Target = target
			}
		}
	}
	going := func(finalizer string) func(*v1alpha1.DeviceTwin) {
		return func(o *v1alpha1.DeviceTwin) {
			now := metav1.NewTime(time.Now())
			o.DeletionTimestamp, o.Finalizers, o.Status.Target = &now, []string{finalizer}, target
		}
	}
	silent := func(and func(*v1alpha1.DeviceTwin)) func(*v1alpha1.DeviceTwin) {
		return func(o *v1alpha1.DeviceTwin) {
			o.Spec.Tags = nil
			and(o)
		}
	}
	for name, tt := range map[string]struct {
		own, rival *v1alpha1.DeviceTwin
		winner     string // "" where that is not known yet
	}{
		"the smaller UID":          {rivalTwin("own", "b", nil), rivalTwin("rival", "a", nil), "rival"},
		"the smaller UID is own":   {rivalTwin("own", "a", nil), rivalTwin("rival", "b", nil), "own"},
		"recorded":                 {rivalTwin("own", "a", nil), rivalTwin("rival", "b", recorded), "rival"},
		"recorded for own":         {rivalTwin("own", "b", recorded), rivalTwin("rival", "a", nil), "own"},
		"recorded for both":        {rivalTwin("own", "b", recorded), rivalTwin("rival", "a", recorded), "rival"},
		"recorded for another hub": {rivalTwin("own", "a", nil), rivalTwin("rival", "b", func(o *v1alpha1.DeviceTwin) { o.Status.Target = "x/d1" }), "own"},
		"another device":           {rivalTwin("own", "b", nil), rivalTwin("rival", "a", func(o *v1alpha1.DeviceTwin) { o.Spec.DeviceID = "d2" }), "own"},
		"a module":                 {rivalTwin("own", "b", nil), rivalTwin("rival", "a", func(o *v1alpha1.DeviceTwin) { o.Spec.ModuleID = "m" }), "own"},
		"suspended":                {rivalTwin("own", "b", nil), rivalTwin("rival", "a", func(o *v1alpha1.DeviceTwin) { o.Spec.Suspend = true }), "own"},
		"suspended, and recorded": {rivalTwin("own", "a", nil), rivalTwin("rival", "b", func(o *v1alpha1.DeviceTwin) {
			o.Spec.Suspend, o.Status.Target = true, target
		}), "rival"},
		"through another HubConnection":              {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("again", false)), "rival"},
		"on another host":                            {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("other", false)), "own"},
		"on another host now":                        {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("other", true)), "own"},
		"out of scope":                               {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("scoped", false)), "own"},
		"out of scope now":                           {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("scoped", true)), "own"},
		"through a hub that is not ready":            {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("unready", false)), "own"},
		"recorded, through a hub that is not ready":  {rivalTwin("own", "a", nil), rivalTwin("rival", "b", through("unready", true)), "rival"},
		"through a hub not reconciled yet":           {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("unseen", false)), "own"},
		"recorded, through a hub not reconciled yet": {rivalTwin("own", "a", nil), rivalTwin("rival", "b", through("unseen", true)), ""},
		"through a HubConnection that is gone":       {rivalTwin("own", "b", nil), rivalTwin("rival", "a", through("gone", true)), "own"},
		"going, with something to clean up first":    {rivalTwin("own", "a", nil), rivalTwin("rival", "b", going(v1alpha1.CleanupFinalizer)), "rival"},
		"out of a scope, and recorded":               {rivalTwin("own", "b", through("named", false)), rivalTwin("rival", "a", recorded), "own"},
		"in a scope":                                 {rivalTwin("own", "a", recorded), rivalTwin("rival", "b", through("named", false)), "rival"},
		"in a scope, as own":                         {rivalTwin("own", "b", through("named", false)), rivalTwin("rival", "a", through("named", false)), "rival"},
		"not valid": {rivalTwin("own", "b", nil), rivalTwin("rival", "a", func(o *v1alpha1.DeviceTwin) {
			o.Spec.Tags.Raw = []byte(`{"a.b":1}`)
		}), "own"},
		"not valid, and recorded": {rivalTwin("own", "a", nil), rivalTwin("rival", "b", func(o *v1alpha1.DeviceTwin) {
			o.Spec.Tags.Raw = []byte(`{"a.b":1}`)
			recorded(o)
		}), "rival"},
		"nothing declared": {rivalTwin("own", "b", nil), rivalTwin("rival", "a", silent(recorded)), "own"},
		"nothing but observed": {rivalTwin("own", "b", nil), rivalTwin("rival", "a", func(o *v1alpha1.DeviceTwin) {
			o.Spec.Policy = v1alpha1.PolicyObserve
		}), "own"},
		"observed but for one leaf": {rivalTwin("own", "b", nil), rivalTwin("rival", "a", func(o *v1alpha1.DeviceTwin) {
			o.Spec.Policy, o.Spec.Policies = v1alpha1.PolicyObserve, []v1alpha1.PathPolicy{{Path: "tags.a", Policy: v1alpha1.PolicyInitialize}}
		}), "rival"},
		"nothing declared, and registered": {rivalTwin("own", "b", nil), rivalTwin("rival", "a", silent(func(o *v1alpha1.DeviceTwin) {
			o.Spec.Registration = v1alpha1.RegistrationCreate
		})), "rival"},
		"going, held by another finalizer": {rivalTwin("own", "b", nil), rivalTwin("rival", "a", going("example.com/hold")), "own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			c := electorate(t, tt.own, tt.rival)
			err := c.Take(t.Context(), tt.own, electionHost)
			switch tt.winner {
			case "":
				g.Expect(outcome.Of(err).Class).To(Equal(outcome.Unseen))
				g.Expect(c.held).To(BeEmpty())
				return
			case "own":
				g.Expect(err).NotTo(HaveOccurred())
			default:
				out := outcome.Of(err)
				g.Expect(out.Reason).To(Equal(v1alpha1.ReasonDeviceClaimed))
				g.Expect(out.Message).To(ContainSubstring(`"rival"`))
			}
			g.Expect(c.held[target].name.Name).To(Equal(tt.winner))
		})
	}
}

// TestSuccessors: who is waiting for a twin that is given up.
func TestSuccessors(t *testing.T) {
	t.Parallel()
	const target = electionHost + "/d1"
	now := metav1.NewTime(time.Now())
	going := func(o *v1alpha1.DeviceTwin) {
		o.DeletionTimestamp, o.Finalizers, o.Status.Target = &now, []string{v1alpha1.CleanupFinalizer}, target
	}
	own := rivalTwin("own", "b", going)
	for name, tt := range map[string]struct {
		others []*v1alpha1.DeviceTwin
		want   string
	}{
		"no other one":            {nil, ""},
		"the smallest UID":        {[]*v1alpha1.DeviceTwin{rivalTwin("c", "c", nil), rivalTwin("a", "a", nil), rivalTwin("d", "d", nil)}, "a"},
		"not one that goes":       {[]*v1alpha1.DeviceTwin{rivalTwin("a", "a", going), rivalTwin("c", "c", nil)}, "c"},
		"not a suspended one":     {[]*v1alpha1.DeviceTwin{rivalTwin("a", "a", func(o *v1alpha1.DeviceTwin) { o.Spec.Suspend = true })}, ""},
		"not one of another host": {[]*v1alpha1.DeviceTwin{rivalTwin("a", "a", func(o *v1alpha1.DeviceTwin) { o.Spec.HubRef.Name = "other" })}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			found, err := electorate(t, append(tt.others, own.DeepCopy())...).Successor(t.Context(), own, target)
			g.Expect(err).NotTo(HaveOccurred())
			if tt.want == "" {
				g.Expect(found).To(BeNil())
				return
			}
			g.Expect(found.Name).To(Equal(tt.want))
		})
	}
}

// TestAReleaseDoesNotTriggerTheReleased one: it would be reconciled, and written, once more
// while the cache still holds it.
func TestAReleaseDoesNotTriggerTheReleased(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	gone, waiting := rivalTwin("gone", "a", nil), rivalTwin("waiting", "b", nil)
	stranger := rivalTwin("stranger", "c", func(o *v1alpha1.DeviceTwin) { o.Spec.DeviceID = "d2" })
	c := electorate(t, gone, waiting, stranger)
	triggered := recordTriggers(c)
	c.tell(t.Context(), client.ObjectKeyFromObject(gone), electionHost+"/d1")
	g.Expect(triggered()).To(ConsistOf(client.ObjectKeyFromObject(waiting)))
}

// TestClaimsFollowNamesAndHosts: a claim is of one object on one host.
func TestClaimsFollowNamesAndHosts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	first := rivalTwin("own", "a", nil)
	c := electorate(t, first)
	g.Expect(c.Take(t.Context(), first, electionHost)).To(Succeed())
	namesake := rivalTwin("own", "z", nil)
	g.Expect(c.Take(t.Context(), namesake, electionHost)).To(Succeed())
	g.Expect(c.held[electionHost+"/d1"].uid).To(BeEquivalentTo("z"))
	g.Expect(c.Take(t.Context(), namesake, "moved.azure-devices.net")).To(Succeed())
	g.Expect(c.held).To(HaveLen(1))
	g.Expect(c.held).To(HaveKey("moved.azure-devices.net/d1"))
	g.Expect(c.Release(t.Context(), client.ObjectKeyFromObject(namesake))).To(BeEquivalentTo("z"))
	g.Expect(c.Release(t.Context(), client.ObjectKeyFromObject(namesake))).To(BeEmpty())
	g.Expect(c.held).To(BeEmpty())
}

// overtaken is a cache in which something happens right after an answer.
type overtaken struct {
	client.Reader
	by func()
}

func (o overtaken) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	defer o.by()
	return o.Reader.List(ctx, list, opts...)
}

// TestNoClaimantWaitsForOneThatIsGone: it was found to keep the twin just before it was
// deleted, and it triggers no other one any more.
func TestNoClaimantWaitsForOneThatIsGone(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	gone, waiting := rivalTwin("gone", "a", nil), rivalTwin("waiting", "b", nil)
	c := electorate(t, gone, waiting)
	went := false
	c.client = overtaken{c.client, func() {
		if !went {
			went = true
			c.client = electorate(t, waiting).client
			g.Expect(c.Release(t.Context(), client.ObjectKeyFromObject(gone))).To(BeEmpty())
		}
	}}
	g.Expect(c.Take(t.Context(), waiting, electionHost)).To(Succeed())
	g.Expect(went).To(BeTrue())
}

// TestNoHolderIsRecordedAfterItsRelease, at whatever moment that came.
func TestNoHolderIsRecordedAfterItsRelease(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const target = electionHost + "/d1"
	gone, waiting := rivalTwin("gone", "a", nil), rivalTwin("waiting", "b", nil)
	keeper := claim{client.ObjectKeyFromObject(gone), gone.UID}
	c := electorate(t, waiting)
	triggered := recordTriggers(c)
	for range 3000 {
		c.held, c.by = map[string]claim{target: keeper}, map[types.NamespacedName]string{keeper.name: target}
		var group sync.WaitGroup
		group.Go(func() { c.Release(t.Context(), keeper.name) })
		group.Go(func() {
			if err := c.Take(t.Context(), waiting, electionHost); err != nil {
				g.Expect(outcome.Of(err).Reason).To(Equal(v1alpha1.ReasonDeviceClaimed))
			}
		})
		group.Wait()
		g.Expect(c.held[target].name).NotTo(Equal(keeper.name))
		g.Expect(triggered()).NotTo(BeEmpty(), "one that had to wait is triggered")
	}
}

// recordTriggers notes which DeviceTwins are triggered; the function it returns takes those
// since its last call.
func recordTriggers(c *Claims) func() []types.NamespacedName {
	var mu sync.Mutex
	var triggered []types.NamespacedName
	c.released = func(name types.NamespacedName) {
		mu.Lock()
		defer mu.Unlock()
		triggered = append(triggered, name)
	}
	return func() []types.NamespacedName {
		mu.Lock()
		defer mu.Unlock()
		since := triggered
		triggered = nil
		return since
	}
}

// TestAClaimIsChallenged: in memory, as after a restart, it stands only while its holder
// may have the twin and would take it.
func TestAClaimIsChallenged(t *testing.T) {
	t.Parallel()
	const target = electionHost + "/d1"
	through := func(hub string) func(*v1alpha1.DeviceTwin) {
		return func(o *v1alpha1.DeviceTwin) { o.Spec.HubRef.Name = hub }
	}
	for name, tt := range map[string]struct {
		own, holder *v1alpha1.DeviceTwin
		taken       bool
	}{
		"it stands":                         {rivalTwin("own", "a", nil), rivalTwin("holder", "b", nil), false},
		"the holder is gone":                {rivalTwin("own", "b", nil), nil, true},
		"the holder is a namesake":          {rivalTwin("own", "b", nil), rivalTwin("holder", "z", nil), true},
		"its hub leads elsewhere":           {rivalTwin("own", "b", nil), rivalTwin("holder", "b", through("other")), true},
		"its HubConnection is gone":         {rivalTwin("own", "b", nil), rivalTwin("holder", "b", through("gone")), true},
		"its hub is not ready":              {rivalTwin("own", "a", nil), rivalTwin("holder", "b", through("unready")), false},
		"its hub was not reconciled":        {rivalTwin("own", "a", nil), rivalTwin("holder", "b", through("unseen")), false},
		"it is out of scope":                {rivalTwin("own", "b", nil), rivalTwin("holder", "b", through("scoped")), true},
		"it declares nothing any more":      {rivalTwin("own", "b", nil), rivalTwin("holder", "b", func(o *v1alpha1.DeviceTwin) { o.Spec.Tags = nil }), true},
		"it is suspended":                   {rivalTwin("own", "a", nil), rivalTwin("holder", "b", func(o *v1alpha1.DeviceTwin) { o.Spec.Suspend = true }), false},
		"own is in a scope":                 {rivalTwin("own", "b", through("named")), rivalTwin("holder", "b", nil), true},
		"both are in a scope":               {rivalTwin("own", "a", through("named")), rivalTwin("holder", "b", through("named")), false},
		"the holder is in a scope, own not": {rivalTwin("own", "a", nil), rivalTwin("holder", "b", through("named")), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			there := []*v1alpha1.DeviceTwin{tt.own}
			if tt.holder != nil {
				there = append(there, tt.holder)
			}
			c := electorate(t, there...)
			triggered := recordTriggers(c)
			holder := claim{types.NamespacedName{Namespace: "plant", Name: "holder"}, "b"}
			c.held[target], c.by[holder.name] = holder, target
			checked := c.Check(t.Context(), tt.own, electionHost)
			g.Expect(c.held).To(HaveKeyWithValue(target, holder), "a check changes nothing")
			g.Expect(c.by).To(HaveLen(1))
			g.Expect(triggered()).To(BeEmpty())
			err := c.Take(t.Context(), tt.own, electionHost)
			g.Expect(outcome.Of(checked)).To(Equal(outcome.Of(err)), "a check says the same")
			if !tt.taken {
				g.Expect(outcome.Of(err).Reason).To(Equal(v1alpha1.ReasonDeviceClaimed))
				g.Expect(c.held[target]).To(Equal(holder))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(c.held[target].name.Name).To(Equal("own"))
			g.Expect(c.by).NotTo(HaveKey(holder.name))
			var names []types.NamespacedName
			for _, obj := range there {
				names = append(names, client.ObjectKeyFromObject(obj))
			}
			g.Expect(triggered()).To(ConsistOf(names), "the one that kept it too")
		})
	}
}

// TestNoClaimIsLeftOver where the winner of an election kept the twin of another host
// before, and others wait for that one.
func TestNoClaimIsLeftOver(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const before = "old.azure-devices.net"
	mover := rivalTwin("mover", "a", nil)
	claimant := rivalTwin("claimant", "b", func(o *v1alpha1.DeviceTwin) { o.Spec.HubRef.Name = "again" })
	c := electorate(t, mover, claimant)
	triggered := recordTriggers(c)
	g.Expect(c.Take(t.Context(), mover, before)).To(Succeed()) // then its Secret leads elsewhere
	g.Expect(outcome.Of(c.Take(t.Context(), claimant, electionHost)).Reason).To(Equal(v1alpha1.ReasonDeviceClaimed))
	g.Expect(c.held).NotTo(HaveKey(before + "/d1"))
	g.Expect(triggered()).To(ConsistOf(client.ObjectKeyFromObject(claimant)), "one that waits for the twin of the other host is triggered")
	g.Expect(c.Take(t.Context(), mover, electionHost)).To(Succeed())
	c.Release(t.Context(), client.ObjectKeyFromObject(mover))
	c.Release(t.Context(), client.ObjectKeyFromObject(claimant))
	g.Expect(c.held).To(BeEmpty())
	g.Expect(c.by).To(BeEmpty())
}
