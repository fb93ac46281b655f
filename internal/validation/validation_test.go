package validation_test

import (
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
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
		"an export of the hub": {desired: `{"power":1,"$metadata":{"$lastUpdated":"2026-11-04T12:30:00Z","power":{"$lastUpdated":"2026-11-04T12:30:00Z"}},"$version":7}`,
			want: "spec.desired: Invalid value: a part of a twin as the hub gives it out; leave out $metadata and $version, which the hub writes itself"},
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

// TestDeviceTwinPaths: paths are spelled by keys that a twin can hold, and the name
// of a Secret as Kubernetes has it.
func TestDeviceTwinPaths(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const keys = "; IoT Hub allows no control character, '.', '$', '#' or space in keys"
	obj := &v1alpha1.DeviceTwin{}
	obj.Spec.Desired = raw(`{"schedule":{"start":7}}`)
	obj.Spec.Policies = []v1alpha1.PathPolicy{{Path: "desired.schedule.$version"}, {Path: "tags. a." + strings.Repeat("k", 1025)}}
	obj.Spec.Mirror.Paths = []string{"firmware.version", "$metadata.firmware", "a.b c"}
	obj.Spec.ConnectionSecretName = "My_Secret"
	_, errs := validation.DeviceTwin(obj)
	g.Expect(validation.Text(errs)).To(HavePrefix(strings.Join([]string{
		"spec.policies[0].path: Invalid value: a key with the character '$'" + keys,
		"spec.policies[1].path: Invalid value: a key with the character ' '" + keys,
		"spec.mirror.paths[1]: Invalid value: a key with the character '$'" + keys,
		"spec.mirror.paths[2]: Invalid value: a key with the character ' '" + keys,
		"spec.connectionSecretName: Invalid value: a lowercase RFC 1123 subdomain must consist of",
	}, "; ")))

	obj.Spec.Policies = []v1alpha1.PathPolicy{
		{Path: "desired"}, {Path: "desired.schedule.start"}, {Path: "desired.schedule.start.hour"}, {Path: "tags.schedule"},
	}
	obj.Spec.Mirror.Paths = []string{"firmware.version", "properties", "reportedAt"}
	obj.Spec.ConnectionSecretName, obj.Spec.DeviceID = "my-secret", "urn;dev:7"
	_, errs = validation.DeviceTwin(obj)
	g.Expect(validation.Text(errs)).To(HavePrefix("spec.connectionSecretName: Invalid value: the id holds ';', which separates the parts"))
	obj.Spec.DeviceID = "urn:dev:7"
	declared, errs := validation.DeviceTwin(obj)
	g.Expect(errs).To(BeEmpty())
	g.Expect(declared.Mirror).To(Equal([][]string{{"firmware", "version"}, {"properties"}, {"reportedAt"}}))
	g.Expect(validation.DeviceTwinDoubts(declared)).To(Equal([]string{
		"spec.policies[2].path: nothing is declared at or below it",
		"spec.policies[3].path: nothing is declared at or below it",
	}))
}

// TestMirrorPathsBeginBelowReported: what is pasted from a query or a status leads to
// nothing otherwise, and nothing says so.
func TestMirrorPathsBeginBelowReported(t *testing.T) {
	t.Parallel()
	for path, spelling := range map[string]string{
		"reported.connectivity":                      "connectivity",
		"properties.reported.connectivity":           "connectivity",
		"Properties.Reported.connectivity.type":      "connectivity.type",
		"$.properties.reported.connectivity":         "connectivity",
		".status.reported.connectivity":              "connectivity",
		"twin.properties.reported.a.b":               "a.b",
		"devices.properties.reported.a":              "a",
		"/properties/reported/telemetry/interval":    "telemetry.interval",
		"properties.reported":                        "",
		"reported":                                   "",
		".status.reported":                           "",
		"reported.reported.a":                        "reported.a",
		"properties.reported.[[cost-center]].amount": "cost-center.amount",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			obj := &v1alpha1.DeviceTwin{}
			obj.Spec.Mirror.Paths = []string{"firmware", path}
			want := "spec.mirror.paths[1]: Invalid value: begins with what leads to the reported properties, and paths begin below them: "
			if spelling == "" {
				want += "leave the path out; without paths everything is mirrored"
			} else {
				want += "write " + spelling
			}
			_, errs := validation.DeviceTwin(obj)
			g.Expect(validation.Text(errs)).To(Equal(want))
		})
	}
}

func TestWithOwner(t *testing.T) {
	t.Parallel()
	read := func(g *WithT, tags string) validation.Declaration {
		obj := &v1alpha1.DeviceTwin{}
		obj.Spec.Tags = raw(tags)
		declared, errs := validation.DeviceTwin(obj)
		g.Expect(errs).To(BeEmpty())
		return declared
	}
	owner := &v1alpha1.OwnerTag{Name: "managedBy", Value: "plant-a"}
	room := 8192 - len("managedBy") - len("plant-a")
	for name, tt := range map[string]struct {
		tags  string
		owner *v1alpha1.OwnerTag
		want  string
	}{
		"none":  {tags: `{"managedBy":"me"}`},
		"added": {tags: full(room), owner: owner},
		"taken": {tags: `{"managedBy":"me"}`, owner: owner,
			want: "spec.tags.managedBy: Invalid value: the owner tag of the HubConnection, spec.ownerTag.name; leave it out"},
		"no room": {tags: full(room + 1), owner: owner,
			want: "spec.tags: Invalid value: a size of 8193 by IoT Hub's accounting; at most 8192 is allowed; " +
				"that includes the owner tag of the HubConnection, spec.ownerTag"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			declared := read(g, tt.tags)
			g.Expect(validation.Text(validation.WithOwner(&declared, tt.owner))).To(Equal(tt.want))
			if name == "added" {
				g.Expect(declared.Tags).To(HaveKeyWithValue("managedBy", "plant-a"))
			}
		})
	}
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
	g.Expect(validation.TwinQueryDoubts(obj, condition)).To(Equal([]string{
		"spec.where: tag.plant is in no twin: there is no tag at its root; tags are under tags, properties under properties.desired and properties.reported",
		"spec.where: a comparison of version (a number) with a string is never true: they have different types",
	}))
}

// TestTwinQueryAsItIsSent: a text that is short enough may be too long as it is sent.
func TestTwinQueryAsItIsSent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.TwinQuery{}
	long := func(comparisons int) string {
		return strings.TrimSuffix(strings.Repeat("a='x'or ", comparisons), "or ")
	}
	const each, frame = len("a = 'x' OR "), len("SELECT COUNT() AS total FROM devices WHERE ()") - len(" OR ")
	fitting := (query.MaxLength - frame) / each
	obj.Spec.Where = long(fitting)
	_, errs := validation.TwinQuery(obj)
	g.Expect(errs).To(BeEmpty())
	obj.Spec.Where = long(fitting + 1)
	g.Expect(len(obj.Spec.Where)).To(BeNumerically("<=", 8000), "the schema lets it pass")
	_, errs = validation.TwinQuery(obj)
	g.Expect(validation.Text(errs)).To(HavePrefix(fmt.Sprintf(
		"spec.where: Invalid value: a condition that takes a query of %d characters, with blanks and parentheses around its operators as it is sent; IoT Hub takes at most 8192",
		frame+each*(fitting+1))))
	obj.Spec.Where, obj.Spec.From = long(fitting), "devices.modules"
	_, errs = validation.TwinQuery(obj)
	g.Expect(errs).To(HaveLen(1), "the query is longer that lists modules")
}

// TestTwinQueryOfModules: what a twin has depends on whose it is.
func TestTwinQueryOfModules(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.TwinQuery{}
	obj.Spec.Where = "moduleId = 'filter'"
	for from, want := range map[string][]string{
		"":                {"spec.where: moduleId is in no twin of a device; twins of modules have it, which are in devices.modules"},
		"devices":         {"spec.where: moduleId is in no twin of a device; twins of modules have it, which are in devices.modules"},
		"devices.modules": nil,
	} {
		obj.Spec.From = from
		condition, errs := validation.TwinQuery(obj)
		g.Expect(errs).To(BeEmpty())
		g.Expect(validation.TwinQueryDoubts(obj, condition)).To(HaveExactElements(want), from)
	}
}

func TestHubConnectionDoubts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	obj := &v1alpha1.HubConnection{}
	obj.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "team-a", DeviceIDPrefix: "a-"}, {Namespace: "Team B", DeviceIDPrefix: "b-"}}
	g.Expect(validation.HubConnection(obj)).To(BeEmpty())
	g.Expect(validation.HubConnectionDoubts(obj)).To(Equal([]string{"spec.deviceScopes[1].namespace: no namespace can have this name"}))
}

func TestMoreUnitsThanAreSoldAreDoubted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sku           v1alpha1.SKU
		sold, doubted int32
	}{{v1alpha1.SKUS1, 200, 201}, {v1alpha1.SKUS2, 200, 201}, {v1alpha1.SKUS3, 10, 11}} {
		g := NewWithT(t)
		obj := &v1alpha1.HubConnection{}
		obj.Spec.Tier = v1alpha1.Tier{SKU: tt.sku, Units: tt.sold}
		g.Expect(validation.HubConnectionDoubts(obj)).To(BeEmpty(), string(tt.sku))
		obj.Spec.Tier.Units = tt.doubted
		g.Expect(validation.HubConnectionDoubts(obj)).To(ConsistOf(HavePrefix(
			"spec.tier.units: IoT Hub sells up to %d units of %s, and more through Microsoft's support only; ", tt.sold, tt.sku)))
	}
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
