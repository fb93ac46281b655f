package crash_test

import (
	"context"
	"fmt"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// otherTools are what tools do that know the manifest alone, and nothing of what the
// managers keep beside it.
var otherTools = []scenario{
	{
		name: "replace with an edit", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(nil) },
		act:     func(c *cell) { c.replace(muchElse) }, twin: edited,
	},
	{
		name: "replace and clear", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(clears) },
		act: func(c *cell) {
			c.replace(nil)
			c.deleteOnceKept()
		},
		twin: onlyForeign, gone: true,
	},
	{
		name: "prune and clear", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(clears) },
		act: func(c *cell) {
			c.patch("", `{"metadata":{"annotations":null,"finalizers":null}}`)
			c.deleteOnceKept()
		},
		twin: onlyForeign, gone: true,
	},
	{ // nothing is authorised any more: what is not declared now stays
		name: "lose the status", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) {
			c.settledTwin(nil)
			c.edit(func(obj *v1alpha1.DeviceTwin) { obj.Spec.Suspend = true })
			c.awaitSeen()
			c.patch("status", `{"status":null}`)
			c.awaitSeen() // it says again that it is suspended, and that its record is gone
		},
		act: func(c *cell) {
			c.edit(func(obj *v1alpha1.DeviceTwin) {
				obj.Spec.Suspend = false
				obj.Spec.Tags = raw(`{"location":{"region":"EU","plant":"Redmond43"},"shape":1}`)
			})
		},
		twin: `[{"location":{"floor":3,"plant":"Redmond43","region":"EU"},"old":1,"shape":1,"theirs":1},` +
			`{"power_level":1,"telemetry":{"interval":30}}]`,
	},
	{
		name: "replace and deregister", device: "new-1", policy: "iothubowner",
		prepare: func(c *cell) { c.settledRegistration() },
		act: func(c *cell) {
			c.replace(nil)
			c.deleteOnceKept()
		},
		twin: "", gone: true,
	},
	{
		name: "replace after a decommission", device: "new-1", policy: "iothubowner",
		prepare: func(c *cell) { c.settledRegistration() },
		act: func(c *cell) {
			c.Expect(c.hub.RemoveDevice("new-1")).To(Succeed())
			c.replace(nil)
		},
		twin: "", reason: v1alpha1.ReasonDeviceDeleted,
	},
}

// awaitSeen waits until the status is about the object as it is.
func (c *cell) awaitSeen() {
	c.Helper()
	c.Eventually(func() int64 { return c.object().Status.ObservedGeneration }, patience, poll).Should(Equal(c.object().Generation))
}

// replace puts what is in Git in the place of the object, as kubectl replace does; also
// changes it before.
func (c *cell) replace(also func(*v1alpha1.DeviceTwin)) {
	c.Helper()
	c.Eventually(func() error {
		held := c.object()
		inGit := c.twin(func(obj *v1alpha1.DeviceTwin) { obj.Spec = held.Spec }, also)
		inGit.ResourceVersion = held.ResourceVersion
		return c.client.Update(c.Context(), inGit)
	}, patience, poll).Should(Succeed())
}

// patch merges a patch into the object, or into a subresource of it.
func (c *cell) patch(subresource, patch string) {
	c.Helper()
	merged := client.RawPatch(types.MergePatchType, []byte(patch))
	obj := c.object()
	if subresource == "" {
		c.Expect(c.client.Patch(c.Context(), obj, merged)).To(Succeed())
		return
	}
	c.Expect(c.client.SubResource(subresource).Patch(c.Context(), obj, merged)).To(Succeed())
}

// deleteOnceKept deletes the object as soon as it has its finalizer again, whichever
// manager puts it there.
func (c *cell) deleteOnceKept() {
	c.Helper()
	done := make(chan error, 1)
	go func() {
		done <- wait.PollUntilContextTimeout(c.Context(), pollInterval, patience, true, func(ctx context.Context) (bool, error) {
			var obj v1alpha1.DeviceTwin
			if err := c.client.Get(ctx, client.ObjectKey{Namespace: c.ns, Name: "t1"}, &obj); err != nil {
				return false, fmt.Errorf("waiting for the finalizer: %w", err)
			}
			if !controllerutil.ContainsFinalizer(&obj, v1alpha1.CleanupFinalizer) {
				return false, nil
			}
			return true, c.client.Delete(ctx, &obj)
		})
	}()
	c.Cleanup(func() { c.Expect(<-done).To(Succeed()) })
}
