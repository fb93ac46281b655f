package admission_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// bad is an object that breaks rules.
type bad struct {
	name string
	// make returns the object, and mend makes it a good one.
	make func(w *world, namespace string) kstatus.Object
	mend func(obj kstatus.Object)
	// reason is the controller's, and causes are what is said of each field.
	reason string
	causes []string
}

func badTwin(name, tags, desired string, causes ...string) bad {
	return bad{
		name: name,
		make: func(w *world, namespace string) kstatus.Object { return w.twin(namespace, "bad", tags, desired) },
		mend: func(obj kstatus.Object) {
			obj.(*v1alpha1.DeviceTwin).Spec.Tags, obj.(*v1alpha1.DeviceTwin).Spec.Desired = nil, nil
		},
		reason: v1alpha1.ReasonInvalidTwin, causes: causes,
	}
}

func badPart(name string, spoil func(*v1alpha1.DeviceTwinSpec), causes ...string) bad {
	return bad{
		name: name,
		make: func(w *world, namespace string) kstatus.Object {
			obj := w.twin(namespace, "bad", `{"a":1}`, "")
			spoil(&obj.Spec)
			return obj
		},
		mend: func(obj kstatus.Object) {
			spec := &obj.(*v1alpha1.DeviceTwin).Spec
			spec.Policies, spec.Mirror, spec.ConnectionSecretName = nil, v1alpha1.Mirror{}, ""
		},
		reason: v1alpha1.ReasonInvalidTwin, causes: causes,
	}
}

func badQuery(name, where, cause string) bad {
	return bad{
		name:   name,
		make:   func(w *world, namespace string) kstatus.Object { return w.query(namespace, "bad", where) },
		mend:   func(obj kstatus.Object) { obj.(*v1alpha1.TwinQuery).Spec.Where = "deviceId = 'a'" },
		reason: v1alpha1.ReasonInvalidQuery, causes: []string{cause},
	}
}

func badConnection(name, reason string, spoil func(*v1alpha1.HubConnectionSpec), causes ...string) bad {
	return bad{
		name: name,
		make: func(w *world, namespace string) kstatus.Object {
			obj := w.connection(namespace, "bad")
			spoil(&obj.Spec)
			return obj
		},
		mend: func(obj kstatus.Object) {
			spec := &obj.(*v1alpha1.HubConnection).Spec
			spec.CABundle, spec.AllowedNamespaces = nil, v1alpha1.AllowedNamespaces{}
			if spec.HostName != "" {
				spec.HostName = "hub.invalid" // no token is made for it
			}
		},
		reason: reason, causes: causes,
	}
}

func badObjects() []bad {
	const keys = "; IoT Hub allows no control character, '.', '$', '#' or space in keys"
	return []bad{
		badTwin("null", `{"location":{"plant":null}}`, "",
			"spec.tags.location.plant: Invalid value: null; IoT Hub stores no null: leave the key out"),
		badTwin("null in an array", "", `{"levels":[1,null]}`,
			"spec.desired.levels[1]: Invalid value: null; IoT Hub stores no null: leave the key out"),
		badTwin("keys", `{"a.b":1}`, `{"$a":1}`,
			`spec.tags["a.b"]: Invalid value: a key with the character '.'`+keys,
			`spec.desired["$a"]: Invalid value: a key with the character '$'`+keys),
		badTwin("export", "", `{"a":1,"$metadata":{"$lastUpdated":"2026-11-04T12:30:00Z","a":{"$lastUpdated":"2026-11-04T12:30:00Z"}},"$version":2}`,
			"spec.desired: Invalid value: a part of a twin as the hub gives it out; leave out $metadata and $version, which the hub writes itself"),
		badTwin("long key", `{"`+strings.Repeat("k", 1025)+`":1}`, "",
			`spec.tags["`+strings.Repeat("k", 64)+`…"]: Invalid value: a key of 1025 bytes; at most 1024 are allowed`),
		badTwin("string", `{"a":"`+strings.Repeat("v", 4097)+`"}`, "",
			"spec.tags.a: Invalid value: a string of 4097 bytes; at most 4096 are allowed"),
		badTwin("integer", "", `{"a":4503599627370496}`,
			"spec.desired.a: Invalid value: an integer outside -4503599627370496 to 4503599627370495"),
		badTwin("level", strings.Repeat(`{"o":`, 11)+"{}"+strings.Repeat("}", 11), "",
			"spec.tags"+strings.Repeat(".o", 11)+": Invalid value: an object or array at level 11; at most 10 levels are allowed below the section"),
		badTwin("size", `{"aa":"`+strings.Repeat("v", 4095)+`","bb":"`+strings.Repeat("v", 4094)+`"}`, "",
			"spec.tags: Invalid value: a size of 8193 by IoT Hub's accounting; at most 8192 is allowed"),
		badPart("policy path",
			func(spec *v1alpha1.DeviceTwinSpec) {
				spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.a", Policy: v1alpha1.PolicyYield}, {Path: "tags.a.$version", Policy: v1alpha1.PolicyYield}}
			},
			`spec.policies[1].path: Invalid value: a key with the character '$'`+keys),
		badPart("mirror path",
			func(spec *v1alpha1.DeviceTwinSpec) { spec.Mirror.Paths = []string{"firmware", "a b"} },
			`spec.mirror.paths[1]: Invalid value: a key with the character ' '`+keys),
		badPart("mirror path's beginning",
			func(spec *v1alpha1.DeviceTwinSpec) { spec.Mirror.Paths = []string{"properties.reported.connectivity"} },
			"spec.mirror.paths[0]: Invalid value: begins with what leads to the reported properties, and paths begin below them: write connectivity"),
		badPart("Secret's name",
			func(spec *v1alpha1.DeviceTwinSpec) {
				spec.Registration, spec.ConnectionSecretName = v1alpha1.RegistrationCreate, "a..b"
			},
			"spec.connectionSecretName: Invalid value: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "+
				"and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "+
				"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"),
		badQuery("syntax", "tags.plant = 'a' AND",
			"spec.where: Invalid value: column 21: expected a property, a constant or a function, found the end of the text"),
		badQuery("clause", "tags.plant = 'a'\nORDER BY deviceId",
			"spec.where: Invalid value: line 2, column 1: ORDER is not part of IoT Hub's query language"),
		badQuery("whole query", "SELECT * FROM devices WHERE tags.building = '43'",
			"spec.where: Invalid value: column 1: a whole query stands here: leave out SELECT … WHERE, and write only what stands behind it, from column 29 on"),
		badQuery("length", strings.TrimSuffix(strings.Repeat("a='x'or ", 999), "or "),
			"spec.where: Invalid value: a condition that takes a query of 11030 characters, with blanks and parentheses around its operators as it is sent; "+
				"IoT Hub takes at most 8192: use fewer comparisons, such as IN with a list in place of OR"),
		badQuery("spelling", "STARTS_WITH(tags.a, 'b')",
			`spec.where: Invalid value: column 1: unknown function "STARTS_WITH"; in queries it is spelled STARTSWITH`),
		badConnection("host name", v1alpha1.ReasonInvalidHostName,
			func(spec *v1alpha1.HubConnectionSpec) {
				spec.HostName = "https://my-hub.azure-devices.net"
				spec.Auth = v1alpha1.HubAuth{WorkloadIdentity: &v1alpha1.WorkloadIdentity{ClientID: "c0", TenantID: "d0", ServiceAccountName: "a"}}
			},
			"spec.hostName: Invalid value: is not a plain host name; it looks like my-hub.azure-devices.net, without a scheme or a path"),
		badConnection("CA bundle", v1alpha1.ReasonInvalidCABundle,
			func(spec *v1alpha1.HubConnectionSpec) { spec.CABundle = []byte("none") },
			"spec.caBundle: Invalid value: it holds no PEM block; put PEM certificates there and nothing else"),
		badConnection("selector", v1alpha1.ReasonInvalidSelector,
			func(spec *v1alpha1.HubConnectionSpec) {
				spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{
					MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "plant", Operator: "Equals", Values: []string{"a"}}},
				}}
			},
			"spec.allowedNamespaces.selector.matchExpressions[0].operator: Invalid value: not a valid selector operator"),
	}
}

// TestBadObjects: what admission refuses, on create and on update, the controller
// reports in the same words where no webhook was called.
func TestBadObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	for i, tt := range badObjects() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			spoilt := func(namespace string) kstatus.Object {
				obj := tt.make(w, namespace)
				obj.SetName(fmt.Sprintf("bad-%d", i))
				return obj
			}
			refused := w.client.Create(t.Context(), spoilt(w.on))
			w.Expect(apierrors.IsInvalid(refused)).To(BeTrue(), "%v", refused)
			w.Expect(causes(refused)).To(Equal(tt.causes))
			for _, cause := range tt.causes {
				w.Expect(refused.Error()).To(And(ContainSubstring("denied the request"), ContainSubstring(cause)))
			}

			obj := spoilt(w.on)
			tt.mend(obj)
			w.create(obj)
			w.Eventually(func() []string { // again where the controller's status came in between
				w.Expect(w.client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
				update := spoilt(w.on)
				update.SetResourceVersion(obj.GetResourceVersion())
				return causes(w.client.Update(t.Context(), update))
			}, patience).Should(Equal(tt.causes))

			admitted := spoilt(w.off)
			w.create(admitted)
			why := w.stalled(admitted)
			w.Expect(why.Reason).To(Equal(tt.reason))
			w.Expect(why.Message).To(HavePrefix(strings.Join(tt.causes, "; ")))
		})
	}
}

// TestBadRequests are refused by the rules of what they ask about. They are immutable, so that
// there is no update to refuse.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	twin := w.twin("", "", `{"a":null}`, "")
	for name, tt := range map[string]struct {
		spec   v1alpha1.TwinRequestSpec
		reason string
		causes []string
	}{
		"condition": {
			v1alpha1.TwinRequestSpec{Query: &v1alpha1.TwinRequestQuery{HubRef: twin.Spec.HubRef, Where: "tags.plant = 'a' AND"}}, v1alpha1.ReasonInvalidQuery,
			[]string{"spec.query.where: Invalid value: column 21: expected a property, a constant or a function, found the end of the text"},
		},
		"select": {
			v1alpha1.TwinRequestSpec{Query: &v1alpha1.TwinRequestQuery{HubRef: twin.Spec.HubRef, Where: "true = true", Select: []string{"tags", "tags.a"}}}, v1alpha1.ReasonInvalidQuery,
			[]string{"spec.query.select[1]: Invalid value: selects some of what tags selects, or all of it: leave one of them out"},
		},
		"plan": {
			v1alpha1.TwinRequestSpec{Plan: &v1alpha1.TwinRequestPlan{Name: "a..b", Spec: twin.Spec}}, v1alpha1.ReasonInvalidTwin,
			[]string{
				"spec.plan.name: Invalid value: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', " +
					"and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
					"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
				"spec.plan.spec.tags.a: Invalid value: null; IoT Hub stores no null: leave the key out",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			request := func(namespace string) *v1alpha1.TwinRequest {
				return &v1alpha1.TwinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "bad-"}, Spec: *tt.spec.DeepCopy()}
			}
			w.Expect(causes(w.client.Create(t.Context(), request(w.on)))).To(Equal(tt.causes))
			admitted := request(w.off)
			w.create(admitted)
			why := w.stalled(admitted)
			w.Expect(why.Reason).To(Equal(tt.reason))
			w.Expect(why.Message).To(HavePrefix(strings.Join(tt.causes, "; ")))
		})
	}
	w.warnings.taken()
	doubtful := &v1alpha1.TwinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.on, Name: "doubtful"}}
	doubtful.Spec.Query = &v1alpha1.TwinRequestQuery{HubRef: twin.Spec.HubRef, Where: "connectionState = 'Connected'"}
	w.create(doubtful)
	w.Expect(w.warnings.taken()).To(HaveExactElements(HavePrefix("spec.query.where: connectionState may be minutes late")))
}

// TestWhatGotInCanBeLabelled: what got in before can be labelled, but not be
// changed into something else that is bad.
func TestWhatGotInCanBeLabelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := w.twin(w.on, "bad", `{"a":null}`, "")
	w.create(obj) // the webhooks are not served yet
	w.startManager(true)
	w.stalled(obj)                        // the controller is done with it
	change := func(change func()) error { // as kubectl does: what stays is not sent
		w.Expect(w.client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		before := obj.DeepCopy()
		change()
		return w.client.Patch(t.Context(), obj, client.MergeFrom(before))
	}
	w.Expect(change(func() { obj.Labels = map[string]string{"seen": "yes"} })).To(Succeed())
	w.Expect(change(func() { obj.Finalizers = []string{"example.com/hold"} })).To(Succeed())
	err := change(func() { obj.Spec.Suspend = true })
	w.Expect(causes(err)).To(Equal([]string{"spec.tags.a: Invalid value: null; IoT Hub stores no null: leave the key out"}))
	w.Expect(w.client.Delete(t.Context(), obj)).To(Succeed())
	w.Expect(change(func() { obj.Finalizers = nil })).To(Succeed(), "a bad object can go")
}

// TestWithoutAnAnswerObjectsAreAdmitted: a manager that is down keeps no user
// from applying, and the next one reports what got in.
func TestWithoutAnAnswerObjectsAreAdmitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	w.Expect(w.client.Create(t.Context(), w.twin(w.on, "bad", `{"a":null}`, ""))).NotTo(Succeed())
	w.stop()
	obj := w.twin(w.on, "bad", `{"a":null}`, "")
	w.create(obj)
	w.startManager(false)
	why := w.stalled(obj)
	w.Expect(why.Reason).To(Equal(v1alpha1.ReasonInvalidTwin))
	w.Expect(why.Message).To(HavePrefix("spec.tags.a: Invalid value: null; IoT Hub stores no null: leave the key out"))
}

func TestDoubtsAreWarnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	w.warnings.taken()
	obj := w.query(w.on, "doubtful", "tag.plant = 'Redmond43' AND tags.floor != 1")
	w.create(obj)
	w.Expect(w.warnings.taken()).To(Equal([]string{
		"spec.where: tag.plant is in no twin: there is no tag at its root; tags are under tags, properties under properties.desired and properties.reported",
		"spec.where: the negation does not select twins without tags.floor; where they are meant as well, add: OR NOT IS_DEFINED(tags.floor)",
	}))
	// By resourceVersion: the manager writes as well, the API server tries a patch again
	// then, and its answer warns of what every try led to. A try that fails does not count.
	change := func(change func()) {
		w.Eventually(func() error {
			w.Expect(w.client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
			change()
			w.warnings.taken()
			return w.client.Update(t.Context(), obj)
		}, patience).Should(Succeed())
	}
	change(func() { obj.Labels = map[string]string{"a": "b"} })
	w.Expect(w.warnings.taken()).To(BeEmpty(), "the condition stays as it was")
	change(func() { obj.Spec.Where = "connectionState = 'Connected'" })
	w.Expect(w.warnings.taken()).To(Equal([]string{
		"spec.where: connectionState may be minutes late: IoT Hub documents it for development and debugging, and advises against queries on it",
	}))
	change(func() { obj.Spec.Where = "capabilities.iotEdge = true" })
	w.Expect(w.warnings.taken()).To(BeEmpty())
	change(func() { obj.Spec.From = "devices.modules" })
	w.Expect(w.warnings.taken()).To(Equal([]string{"spec.where: capabilities is in no twin of a module; twins of devices have it"}))
	change(func() { obj.Spec.Where = "tags.cost-center = 42" })
	w.Expect(w.warnings.taken()).To(Equal([]string{
		"spec.where: tags.cost-center is read as a subtraction; the name with a hyphen is written tags.[[cost-center]]",
	}))
	change(func() { obj.Spec.Where = "tags.location.plant = 'Redmond43'" })
	w.Expect(w.warnings.taken()).To(BeEmpty())
}

// TestDoubtsAboutPaths: what leads nowhere is let pass, for a template may well be
// shared by objects that declare more.
func TestDoubtsAboutPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	w.warnings.taken()
	twin := w.twin(w.on, "doubtful", `{"a":1}`, "")
	twin.Spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.b", Policy: v1alpha1.PolicyYield}}
	w.create(twin)
	w.Expect(w.warnings.taken()).To(Equal([]string{
		"spec.policies[0].path: nothing is declared at or below it",
	}))
	conn := w.connection(w.on, "doubtful")
	conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "Plant A", DeviceIDPrefix: "a"}}
	w.create(conn)
	w.Expect(w.warnings.taken()).To(Equal([]string{"spec.deviceScopes[0].namespace: no namespace can have this name"}))
}

// TestKubectlApply shows what the user sees.
func TestKubectlApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	kubeconfig := suite.env.KubeconfigFile(t)
	apply := func(manifest string, flags ...string) (string, error) {
		args := append([]string{"apply", "--namespace", w.on, "-f", "-"}, flags...)
		cmd := exec.CommandContext(t.Context(), suite.env.Kubectl(), args...)
		cmd.Env = append(cmd.Environ(), "KUBECONFIG="+kubeconfig)
		cmd.Stdin = strings.NewReader(manifest)
		printed, err := cmd.CombinedOutput()
		return string(printed), err
	}
	const manifest = `
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: thermostat-1}
spec:
  hubRef: {name: hub}
  deviceId: thermostat-1
  tags: {location: {plant: null, serial: 4503599627370496}}
  desired: {power.level: 1}
`
	const number = "spec.tags.location.serial: Invalid value: an integer outside -4503599627370496 to 4503599627370495"
	const key = `spec.desired["power.level"]: Invalid value: a key with the character '.'; IoT Hub allows no control character`
	const null = "spec.tags.location.plant: Invalid value: null; IoT Hub stores no null: leave the key out"
	printed, err := apply(manifest)
	w.Expect(err).To(HaveOccurred())
	w.Expect(printed).To(And(ContainSubstring(number), ContainSubstring(key)))
	w.Expect(printed).NotTo(ContainSubstring(null), "kubectl leaves nulls out of what it sends")
	printed, err = apply(manifest, "--server-side")
	w.Expect(err).To(HaveOccurred())
	w.Expect(printed).To(And(ContainSubstring(number), ContainSubstring(key), ContainSubstring(null)))
	printed, err = apply(manifest, "--server-side", "--dry-run=server")
	w.Expect(err).To(HaveOccurred())
	w.Expect(printed).To(ContainSubstring(number))
	printed, err = apply(`
apiVersion: iothub.devicetwin.io/v1alpha1
kind: TwinQuery
metadata: {name: cellular}
spec:
  hubRef: {name: hub}
  where: reported.connectivity = 'cellular'
`)
	w.Expect(err).NotTo(HaveOccurred(), printed)
	w.Expect(printed).To(And(
		ContainSubstring("Warning: spec.where: reported.connectivity is in no twin: write properties.reported\n"),
		ContainSubstring("twinquery.iothub.devicetwin.io/cellular created"),
	))
}
