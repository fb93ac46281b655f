package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	plant = "plant"
	// editEvery spreads edits over the time that a Deployment takes to be replaced.
	editEvery = 40 * time.Millisecond
	// leaderGap is what a fleet may be without a leader when one is deleted or upgraded: no longer
	// than the Lease lasts.
	leaderGap = 15 * time.Second
)

// fleet is the second chapter: a fleet whose managers come and go while it is edited. Each edit has
// to reach the hub, once.
type fleet struct {
	*cluster
	opts options
	hub  *hub
	// revision is what the twins of the fleet were last edited to, one by one.
	revision []int
	// applied is how many updates the hub has had.
	applied int
}

func newFleet(c *cluster, opts options) *fleet {
	return &fleet{cluster: c, opts: opts, revision: make([]int, opts.twins)}
}

func (f *fleet) chapter() chapter {
	return chapter{"fleet", []step{
		{"A hub that outlives the operator, and the previous version with two managers", f.install},
		{"The fleet is declared", f.declare},
		{"The chart is upgraded under a running edit of each twin", f.upgrade},
		{"The leader's Pod is deleted under a running edit of 300 twins", f.deleteLeader},
		{"containerd is restarted under a running edit of 100 twins", f.restartContainerd},
		{"The webhooks' certificate is replaced while objects are applied", f.rotate},
		{"Too little memory for the managers, and enough again", f.starve},
		{"Uninstalled and installed again: the fleet is taken up as it is", f.reinstall},
	}}
}

// helmUpgrade brings the release to a chart and an image; it is installed if it is not there.
func (f *fleet) helmUpgrade(ctx context.Context, chart, version string, more ...string) error {
	args := []string{
		"upgrade", "--install", release, chart, "-n", systemNamespace, "--wait", "--timeout", stepTimeout.String(),
		"--set", "image.tag=" + version, "--set", "fleetSize=1000", "--set", "allowedHostSuffixes={" + hubHost + "}",
		"--set", "webhook.failurePolicy=Fail", "--set", "networkPolicy.enabled=true", "--set", "networkPolicy.hubPorts={443,8443}",
	}
	_, err := f.tool(ctx, "helm", append(args, more...)...)
	return err
}

func (f *fleet) install(ctx context.Context) (string, error) {
	devices, err := names(f.opts.twins)
	if err != nil {
		return "", err
	}
	if err := f.installHub(ctx, f.opts.chart, f.opts.version, devices); err != nil {
		return "", err
	}
	if err := f.restrict(ctx, systemNamespace); err != nil {
		return "", err
	}
	if err := f.helmUpgrade(ctx, f.opts.previousChart, f.opts.previousVersion); err != nil {
		return "", err
	}
	f.hub, err = newHub(ctx, f.cluster)
	return "", err
}

func (f *fleet) declare(ctx context.Context) (string, error) {
	if err := f.restrict(ctx, plant); err != nil {
		return "", err
	}
	var given corev1.Secret
	if err := f.Get(ctx, types.NamespacedName{Namespace: hubNamespace, Name: hubSecret}, &given); err != nil {
		return "", err
	}
	secret := &corev1.Secret{Data: map[string][]byte{"connectionString": given.Data["connectionString"]}}
	secret.Namespace, secret.Name = plant, "hub"
	connection := &v1alpha1.HubConnection{}
	connection.Namespace, connection.Name = plant, "hub"
	connection.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "hub"}
	connection.Spec.CABundle = given.Data["ca.crt"]
	for _, object := range []client.Object{secret, connection} {
		// The managers are ready before kube-proxy leads to them.
		err := await(ctx, object.GetName()+" to be accepted", func(ctx context.Context) (string, bool, error) {
			return "accepted", true, f.Create(ctx, object)
		})
		if err != nil {
			return "", err
		}
	}
	for i := range f.opts.twins {
		twin := &v1alpha1.DeviceTwin{}
		twin.Namespace, twin.Name = plant, twinName(i)
		twin.Spec.HubRef.Name, twin.Spec.DeviceID = "hub", twinName(i)
		twin.Spec.Tags = &runtime.RawExtension{Raw: []byte(`{"location":{"plant":"Redmond43"}}`)}
		twin.Spec.Desired = declaration(1)
		if err := f.Create(ctx, twin); err != nil {
			return "", err
		}
		f.revision[i] = 1
	}
	return f.settles(ctx, f.opts.twins)
}

// edit changes the first n twins one after the other, until they are done.
func (f *fleet) edit(ctx context.Context, n int) error {
	pace := time.NewTicker(editEvery)
	defer pace.Stop()
	for i := range n {
		f.revision[i]++
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"desired": map[string]any{"revision": f.revision[i]}}})
		if err != nil {
			return err
		}
		twin := &v1alpha1.DeviceTwin{}
		twin.Namespace, twin.Name = plant, twinName(i)
		// Failing webhooks refuse it while no manager is ready to answer: an edit is tried again as a user would.
		err = await(ctx, "an edit of "+twin.Name+" to be accepted", func(ctx context.Context) (string, bool, error) {
			return "accepted", true, f.Patch(ctx, twin, client.RawPatch(types.MergePatchType, patch))
		})
		if err != nil {
			return err
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// editing edits the first n twins while something happens, and holds the hub to one update for each.
func (f *fleet) editing(ctx context.Context, n int, happens func(context.Context) (string, error)) (string, error) {
	edited := make(chan error, 1)
	go func() { edited <- f.edit(ctx, n) }()
	seen, err := happens(ctx)
	if editErr := <-edited; err == nil {
		err = editErr
	}
	if err != nil {
		return "", err
	}
	settled, err := f.settles(ctx, n)
	if seen != "" {
		settled += "; " + seen
	}
	return settled, err
}

// settles waits until each twin is Ready as it is declared now. Then the hub must hold that, and have
// had just the updates that this costs.
func (f *fleet) settles(ctx context.Context, updates int) (string, error) {
	err := await(ctx, "each DeviceTwin to be Ready", func(ctx context.Context) (string, bool, error) {
		var twins v1alpha1.DeviceTwinList
		if err := f.List(ctx, &twins, client.InNamespace(plant)); err != nil {
			return "", false, err
		}
		ready := slices.DeleteFunc(slices.Clone(twins.Items), func(twin v1alpha1.DeviceTwin) bool {
			return twin.Status.ObservedGeneration != twin.Generation || !meta.IsStatusConditionTrue(twin.Status.Conditions, v1alpha1.ConditionReady)
		})
		return fmt.Sprintf("%d of %d", len(ready), f.opts.twins), len(ready) == f.opts.twins, nil
	})
	if err != nil {
		return "", err
	}
	for i, want := range f.revision {
		got, err := f.hub.revision(ctx, twinName(i))
		if err != nil {
			return "", err
		}
		if got != want {
			return "", fmt.Errorf("lost: the hub has revision %d of %s, and %d is declared", got, twinName(i), want)
		}
	}
	return f.costs(ctx, updates)
}

// costs holds the hub to the updates that it should have had since it was last asked.
func (f *fleet) costs(ctx context.Context, updates int) (string, error) {
	applied, refused, err := f.hub.patches(ctx)
	if err != nil {
		return "", err
	}
	before := f.applied
	f.applied = applied
	if applied-before != updates {
		return "", fmt.Errorf("the hub has had %d updates, and %d are right", applied-before, updates)
	}
	return fmt.Sprintf("%d updates at the hub, as many as edits (%d refused since its start)", updates, refused), nil
}

func declaration(revision int) *runtime.RawExtension {
	return &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"revision":%d}`, revision)}
}
