package crash_test

import (
	"crypto/sha256"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// scenario is something that a user or another back end does, and what must
// come of it whenever the manager is killed.
type scenario struct {
	name   string
	device string   // that the object is about
	exists []string // devices that the hub has at first
	policy string   // of the managers' connection string
	// prepare is what there is before; nil for nothing but the HubConnection.
	prepare func(*cell)
	act     func(*cell)
	// meanwhile is what a user does while no manager runs; undisturbed, it comes
	// once the hub holds between. Both may be left out.
	meanwhile func(*cell)
	between   string
	// twin is what the hub holds at the end; "" when the device must be gone.
	twin string
	// gone says that the object must be.
	gone bool
	// reason of Ready at the end, of an object that cannot be in step.
	reason string
	// fleet is what a set must come to, where the scenario is about one; nil where it is not.
	fleet *fleetEnd
}

// inEveryRun are the scenarios of `make test`.
var inEveryRun = []string{"undone"}

// foreign is what another writer keeps on the twin; the manager must not touch it.
var foreign = map[string]any{"theirs": 1, "location": map[string]any{"floor": 3}}

var scenarios = slices.Concat(edits, otherTools, sets)

// edits are what users and other back ends do.
var edits = []scenario{
	{
		name: "create", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.anotherWriter("d1", foreign) },
		act:     func(c *cell) { c.create(c.twin(declared, nil)) },
		twin:    asDeclared,
	},
	{
		name: "edit", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(nil) },
		act:     editMuch, twin: edited,
	},
	{
		name: "second thoughts", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(nil) },
		act:     editMuch, between: edited,
		meanwhile: func(c *cell) {
			c.edit(func(obj *v1alpha1.DeviceTwin) {
				obj.Spec.Tags, obj.Spec.Desired = raw(`{"location":{"plant":"Redmond43"},"shape":1}`), raw(`{"power_level":1}`)
			})
		},
		twin: `[{"location":{"floor":3,"plant":"Redmond43"},"shape":1,"theirs":1},{"power_level":1}]`,
	},
	{ // what is held arrives where the next manager found nothing to do
		name: "undone", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(nil) },
		act:     editMuch, between: edited,
		meanwhile: func(c *cell) { c.edit(declared) },
		twin:      asDeclared,
	},
	{
		name: "edit and clear", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(clears) },
		act:     editMuch, between: edited,
		meanwhile: func(c *cell) { c.delete() },
		twin:      `[{"location":{"floor":3},"theirs":1},{}]`, gone: true,
	},
	{
		name: "drift", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(nil) },
		act: func(c *cell) {
			c.anotherWriter("d1", map[string]any{"location": map[string]any{"region": "XX"}, "old": nil})
		},
		twin: asDeclared,
	},
	{
		name: "clear", device: "d1", exists: []string{"d1"}, policy: "service",
		prepare: func(c *cell) { c.settledTwin(clears) },
		act:     func(c *cell) { c.delete() },
		twin:    onlyForeign, gone: true,
	},
	{
		name: "register", device: "new-1", policy: "iothubowner",
		act:  func(c *cell) { c.create(c.twin(registering, nil)) },
		twin: `[{"plant":"Redmond43"},{"power_level":1}]`,
	},
	{
		name: "register with a certificate", device: "new-1", policy: "iothubowner",
		act:  func(c *cell) { c.create(c.twin(registering, selfSigned)) },
		twin: `[{"plant":"Redmond43"},{"power_level":1}]`,
	},
	{
		name: "deregister", device: "new-1", policy: "iothubowner",
		prepare: func(c *cell) { c.settledRegistration() },
		act:     func(c *cell) { c.delete() }, twin: "", gone: true,
	},
}

func raw(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

func declared(obj *v1alpha1.DeviceTwin) {
	obj.Spec.DeviceID = "d1"
	obj.Spec.Tags = raw(`{"location":{"region":"US","plant":"Redmond43"},"old":1,"shape":1}`)
	obj.Spec.Desired = raw(`{"power_level":1,"telemetry":{"interval":30}}`)
}

// asDeclared and edited are what the hub holds with declared, and after editMuch,
// beside what is foreign.
const (
	asDeclared = `[{"location":{"floor":3,"plant":"Redmond43","region":"US"},"old":1,"shape":1,"theirs":1},` +
		`{"power_level":1,"telemetry":{"interval":30}}]`
	edited = `[{"location":{"floor":3,"plant":"Redmond43","region":"EU"},"new":true,"shape":{"kind":"a"},"theirs":1},` +
		`{"new":{"deep":1},"power_level":2}]`
)

// onlyForeign is what it holds when all that is declared has gone.
const onlyForeign = `[{"location":{"floor":3},"theirs":1},{}]`

// editMuch adds, changes and removes leaves, and makes an object of one.
func editMuch(c *cell) { c.edit(muchElse) }

func muchElse(obj *v1alpha1.DeviceTwin) {
	obj.Spec.Tags = raw(`{"location":{"region":"EU","plant":"Redmond43"},"shape":{"kind":"a"},"new":true}`)
	obj.Spec.Desired = raw(`{"power_level":2,"new":{"deep":1}}`)
}

func registering(obj *v1alpha1.DeviceTwin) {
	obj.Spec.DeviceID = "new-1"
	obj.Spec.Registration = v1alpha1.RegistrationCreate
	obj.Spec.ConnectionSecretName = "device-connection"
	obj.Spec.Tags, obj.Spec.Desired = raw(`{"plant":"Redmond43"}`), raw(`{"power_level":1}`)
}

// twin makes a DeviceTwin that is not created yet; also changes it further.
func (c *cell) twin(what, also func(*v1alpha1.DeviceTwin)) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "t1"}}
	obj.Spec.HubRef.Name = "hub"
	what(obj)
	if also != nil {
		also(obj)
	}
	return obj
}

// settledTwin has a twin in step for long enough, beside another writer's values.
func (c *cell) settledTwin(also func(*v1alpha1.DeviceTwin)) {
	c.Helper()
	c.anotherWriter("d1", foreign)
	obj := c.twin(declared, also)
	c.create(obj)
	c.awaitReady(obj)
	c.settle(obj)
}

// settledRegistration has a device registered, and to be deregistered with its object.
func (c *cell) settledRegistration() {
	c.Helper()
	obj := c.twin(registering, deletes)
	c.create(obj)
	c.awaitReady(obj)
	c.settle(obj)
}

// selfSigned has the device prove who it is by a certificate.
func selfSigned(obj *v1alpha1.DeviceTwin) {
	obj.Spec.ConnectionSecretName = ""
	obj.Spec.Authentication = &v1alpha1.DeviceAuthentication{Type: string(hub.AuthSelfSigned), PrimaryThumbprint: strings.Repeat("AB", sha256.Size)}
}

func clears(obj *v1alpha1.DeviceTwin)  { obj.Spec.DeletionPolicy = v1alpha1.DeletionClear }
func deletes(obj *v1alpha1.DeviceTwin) { obj.Spec.DeletionPolicy = v1alpha1.DeletionDelete }

// object is the DeviceTwin as it is now, nil when it is gone.
func (c *cell) object() *v1alpha1.DeviceTwin {
	c.Helper()
	obj := &v1alpha1.DeviceTwin{}
	err := c.client.Get(c.Context(), client.ObjectKey{Namespace: c.ns, Name: "t1"}, obj)
	if apierrors.IsNotFound(err) {
		return nil
	}
	c.Expect(err).NotTo(HaveOccurred())
	return obj
}

// checkAuthentication wants a device to prove who it is as the object declares, and by
// nothing that it was registered with.
func (c *cell) checkAuthentication(obj *v1alpha1.DeviceTwin) {
	c.Helper()
	identity, err := c.session("iothubowner").GetIdentity(c.Context(), hub.ID{Device: obj.Spec.DeviceID})
	c.Expect(err).NotTo(HaveOccurred())
	given := obj.Spec.Authentication
	c.Expect(identity.Credentials).To(Equal(hub.Credentials{
		Type: hub.AuthenticationType(given.Type), PrimaryThumbprint: given.PrimaryThumbprint, SecondaryThumbprint: given.SecondaryThumbprint,
	}))
}

// edit changes the object as a user does, again if another client wrote in between.
func (c *cell) edit(change func(*v1alpha1.DeviceTwin)) {
	c.Helper()
	c.Eventually(func() error {
		obj := c.object()
		change(obj)
		return c.client.Update(c.Context(), obj)
	}, patience, poll).Should(Succeed())
}

func (c *cell) delete() {
	c.Helper()
	c.Expect(c.client.Delete(c.Context(), c.object())).To(Succeed())
}

// checkConnection wants the Secret of a registered device to be its own.
func (c *cell) checkConnection(device string) {
	c.Helper()
	var secret corev1.Secret
	c.Expect(c.client.Get(c.Context(), client.ObjectKey{Namespace: c.ns, Name: "device-connection"}, &secret)).To(Succeed())
	direct, err := c.hub.DeviceConnectionString(device)
	c.Expect(err).NotTo(HaveOccurred())
	key := func(text string) string {
		match := sharedKey.FindString(text)
		c.Expect(match).NotTo(BeEmpty())
		return match
	}
	c.Expect(key(string(secret.Data["connectionString"]))).To(Equal(key(direct)), "the Secret has the device's key")
}
