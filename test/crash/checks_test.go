package crash_test

import (
	"context"
	"regexp"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

var sharedKey = regexp.MustCompile(`SharedAccessKey=[^;]+`)

// settle lets so much time pass that nothing can be on its way to the hub any
// more, and waits until the ownership record is the truth.
func (c *cell) settle(obj *v1alpha1.DeviceTwin) {
	c.Helper()
	c.putForward(flight)
	visit := ""
	c.Eventually(func() string {
		differs := c.recordDiffers()
		if differs != "" { // the manager's own timer goes by the real clock
			visit = time.Now().Format(time.RFC3339Nano)
			c.edit(func(obj *v1alpha1.DeviceTwin) {
				metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ReconcileAtAnnotation, visit)
			})
		}
		return differs
	}, patience, "500ms").Should(BeEmpty())
	if visit != "" {
		c.Eventually(func() string { return c.object().Status.LastHandledReconcileAt }, patience, poll).Should(Equal(visit))
	}
	*obj = *c.object()
}

// recordDiffers says how the record differs from that of a new object that finds the
// twin as it is and declares the same.
func (c *cell) recordDiffers() string {
	c.Helper()
	obj := c.object()
	stored, err := twin.DecodeRecord(obj.Status.Record)
	if err != nil {
		return err.Error()
	}
	tags, err := twin.ParseSection(obj.Spec.Tags.Raw)
	c.Expect(err).NotTo(HaveOccurred())
	desired, err := twin.ParseSection(obj.Spec.Desired.Raw)
	c.Expect(err).NotTo(HaveOccurred())
	wanted := twin.Document{Tags: tags, Desired: desired}
	truth := twin.Make(twin.Input{Declared: wanted, Record: twin.NewRecord(stored.Target), Observed: wanted}).Settled
	if stored.Equal(truth) && stored.Target.Owner == string(obj.UID) {
		return ""
	}
	return "the record is " + obj.Status.Record
}

// check waits for what the scenario wants, holds it for two more reads, and then
// checks everything else that must be true.
func (c *cell) check(s scenario) {
	c.Helper()
	if s.fleet != nil {
		c.checkFleet(s.fleet)
		return
	}
	c.Eventually(func() string { return c.twinOnHub(s.device) }, patience, poll).Should(Equal(s.twin))
	if s.gone {
		c.awaitGone()
		c.Expect(c.twinOnHub(s.device)).To(Equal(s.twin))
		return
	}
	obj := c.object()
	if s.reason != "" {
		c.checkStands(s)
		return
	}
	c.awaitReady(obj)
	c.settle(obj)
	c.Eventually(func() string { return c.object().Status.ETag }, patience, poll).Should(Equal(c.etag(s.device)))
	written, applied := len(c.gate.written()), c.applied()
	c.awaitReadBacks(2)
	c.Expect(c.gate.written()[written:]).To(BeEmpty(), "in steady state nothing is written")
	c.Expect(c.applied()).To(Equal(applied))
	c.Expect(c.twinOnHub(s.device)).To(Equal(s.twin))
	if obj.Spec.ConnectionSecretName != "" {
		c.checkConnection(s.device)
	}
	if obj.Spec.Authentication != nil {
		c.checkAuthentication(obj)
	}
}

// awaitGone waits for the object to go, and puts the clock forward for what may be on its
// way to the hub: the time of that counts from the manager's first visit, before or after
// which the first of the two comes.
func (c *cell) awaitGone() {
	c.Helper()
	for range 2 {
		c.putForward(flight)
		if err := wait.PollUntilContextTimeout(c.Context(), pollInterval, patience/10, true, func(context.Context) (bool, error) {
			return c.object() == nil, nil
		}); err == nil {
			return
		}
	}
	c.Eventually(c.object, patience, poll).Should(BeNil())
}

// checkStands waits for an object that cannot be in step, and wants it to stay like that
// after a visit that the user asks for.
func (c *cell) checkStands(s scenario) {
	c.Helper()
	c.Eventually(c.reason, patience, poll).Should(Equal(s.reason))
	c.edit(func(obj *v1alpha1.DeviceTwin) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, v1alpha1.ReconcileAtAnnotation, s.name)
	})
	c.Eventually(func() string { return c.object().Status.LastHandledReconcileAt }, patience, poll).Should(Equal(s.name))
	c.Expect(c.reason()).To(Equal(s.reason))
	c.Expect(c.twinOnHub(s.device)).To(Equal(s.twin))
}

// reason is why the object is, or is not, Ready; "" when that is not said yet.
func (c *cell) reason() string {
	c.Helper()
	if ready := meta.FindStatusCondition(c.object().Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}
