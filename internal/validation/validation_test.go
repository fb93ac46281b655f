package validation_test

import (
	"encoding/pem"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// secret is a value that no message may repeat.
const secret = "hunter2"

func raw(text string) *runtime.RawExtension {
	if text == "" {
		return nil
	}
	return &runtime.RawExtension{Raw: []byte(text)}
}

func TestDeviceTwin(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ tags, desired, want string }{
		"nothing":  {},
		"empty":    {tags: "{}", desired: "{}"},
		"in order": {tags: `{"location":{"plant":"Redmond43"}}`, desired: `{"power_level":1}`},
		"a null": {tags: `{"location":{"plant":null}}`,
			want: "spec.tags.location.plant: Invalid value: null; IoT Hub stores no null: leave the key out"},
		"a key": {desired: `{"a":{"b.c":"` + secret + `"}}`,
			want: `spec.desired.a["b.c"]: Invalid value: a key with the character '.'; IoT Hub allows no control character, '.', '$', '#' or space in keys`},
		"a string": {tags: `{"a":["` + strings.Repeat(secret, 600) + `"]}`,
			want: "spec.tags.a[0]: Invalid value: a string of 4200 bytes; at most 4096 are allowed"},
		"tags and desired": {tags: `{"n":4503599627370496}`, desired: `{"n":null}`,
			want: "spec.tags.n: Invalid value: an integer outside -4503599627370496 to 4503599627370495; " +
				"spec.desired.n: Invalid value: null; IoT Hub stores no null: leave the key out"},
		"no objects": {tags: `["` + secret + `"]`, desired: `"` + secret + `"`,
			want: "spec.tags: Invalid value: not a JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}; " +
				"spec.desired: Invalid value: not a JSON object: json: cannot unmarshal string into Go value of type map[string]interface {}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			obj := &v1alpha1.DeviceTwin{}
			obj.Spec.Tags, obj.Spec.Desired = raw(tt.tags), raw(tt.desired)
			declared, errs := validation.DeviceTwin(obj)
			g.Expect(validation.Text(errs)).To(Equal(tt.want))
			if tt.want == "" {
				g.Expect(declared.Tags).NotTo(BeNil())
				g.Expect(declared.Desired).NotTo(BeNil())
			}
		})
	}
}

func TestDeviceTwinPolicies(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.DeviceTwin{}
	obj.Spec.Policy = v1alpha1.PolicyYield
	obj.Spec.Policies = []v1alpha1.PathPolicy{
		{Path: "tags.location", Policy: v1alpha1.PolicyObserve}, {Path: "reported.on", Policy: v1alpha1.PolicyEnforce},
	}
	_, errs := validation.DeviceTwin(obj)
	g.Expect(validation.Text(errs)).To(Equal(
		`spec.policies[1].path: Invalid value: begins with "reported": it should begin with tags or desired`))
	obj.Spec.Policies = obj.Spec.Policies[:1]
	declared, errs := validation.DeviceTwin(obj)
	g.Expect(errs).To(BeEmpty())
	g.Expect(declared.Policies.Default).To(Equal(twin.Yield))
	g.Expect(declared.Policies.Paths).To(HaveLen(1))
	g.Expect(declared.Policies.Paths[0].Path.String()).To(Equal("tags.location"))
	g.Expect(declared.Policies.Paths[0].Policy).To(Equal(twin.Observe))
}

func TestTwinQuery(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.TwinQuery{}
	for where, want := range map[string]string{
		"tags.plant = '" + secret + "' AND":      "spec.where: Invalid value: column 27: expected a property, a constant or a function, found the end of the text",
		"tags.plant = 'a'\n  AND OR":             `spec.where: Invalid value: line 2, column 7: expected the name of a property, found "OR"; a property of that name is written [[OR]]`,
		"STARTS_WITH(tags.a, '" + secret + "')":  `spec.where: Invalid value: column 1: unknown function "STARTS_WITH"; in queries it is spelled STARTSWITH`,
		"tags.plant = '" + secret + "' LIMIT 10": "spec.where: Invalid value: column 24: LIMIT is not part of IoT Hub's query language",
	} {
		obj.Spec.Where = where
		_, errs := validation.TwinQuery(obj)
		g.Expect(validation.Text(errs)).To(Equal(want))
	}
	obj.Spec.Where = "tag.plant = '" + secret + "' and version='3'"
	condition, errs := validation.TwinQuery(obj)
	g.Expect(errs).To(BeEmpty())
	g.Expect(condition.String()).To(Equal("tag.plant = '" + secret + "' AND version = '3'"))
	g.Expect(validation.TwinQueryDoubts(condition)).To(Equal([]string{
		"spec.where: tag.plant is in no twin: there is no tag at its root; tags are under tags, properties under properties.desired and properties.reported",
		"spec.where: a comparison of version (a number) with a string is never true: they have different types",
	}))
}

func TestHubConnection(t *testing.T) {
	t.Parallel()
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(secret)})
	for name, tt := range map[string]struct {
		host, bundle string
		selector     *metav1.LabelSelector
		want         string
	}{
		"nothing":     {},
		"a good host": {host: "My-Hub.azure-devices.net:8443"},
		"a URL": {host: "https://" + secret,
			want: "spec.hostName: Invalid value: is not a plain host name; it looks like my-hub.azure-devices.net, without a scheme or a path"},
		"a port": {host: "my-hub.azure-devices.net:https",
			want: "spec.hostName: Invalid value: has a port that is not a number from 1 to 65535"},
		"a good selector": {selector: &metav1.LabelSelector{
			MatchLabels:      map[string]string{"plant": "Redmond43"},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a/b", Operator: "In", Values: []string{"", "c"}}},
		}},
		"no certificate": {bundle: secret,
			want: "spec.caBundle: Invalid value: it holds no PEM block; put PEM certificates there and nothing else"},
		"a private key": {bundle: string(key),
			want: "spec.caBundle: Invalid value: PEM block 1 is not a certificate; put PEM certificates there and nothing else"},
		"an operator": {
			selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: secret}}},
			want:     "spec.allowedNamespaces.selector.matchExpressions[0].operator: Invalid value: not a valid selector operator",
		},
		"values that are missing, and some too many": {
			bundle: secret,
			selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: "a", Operator: "In"}, {Key: "b", Operator: "Exists", Values: []string{secret}},
			}},
			want: "spec.caBundle: Invalid value: it holds no PEM block; put PEM certificates there and nothing else; " +
				"spec.allowedNamespaces.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'; " +
				"spec.allowedNamespaces.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			obj := &v1alpha1.HubConnection{}
			obj.Spec.HostName, obj.Spec.CABundle = tt.host, []byte(tt.bundle)
			obj.Spec.AllowedNamespaces.Selector = tt.selector
			g.Expect(validation.Text(validation.HubConnection(obj))).To(Equal(tt.want))
		})
	}
}

// TestTheSameErrorsReadTheSame: a condition's message that changed by itself would
// be written each time.
func TestTheSameErrorsReadTheSame(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.HubConnection{}
	obj.Spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{
		"a b": "x", "c": "y z", "-": "", strings.Repeat("d", 64): "x", "e": strings.Repeat("f", 64),
	}}
	first := validation.Text(validation.HubConnection(obj))
	g.Expect(strings.Count(first, "spec.allowedNamespaces.selector.matchLabels: Invalid value: ")).To(BeNumerically(">=", 5))
	for range 50 {
		g.Expect(validation.Text(validation.HubConnection(obj))).To(Equal(first))
	}
}
