package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// deep is a JSON object that nests so many objects, the innermost holding a value.
func deep(levels int, value string) string {
	return strings.Repeat(`{"o":`, levels) + value + strings.Repeat(`}`, levels)
}

// filler is the members of a JSON object of exactly size bytes by the hub's
// accounting.
func filler(size int) string {
	var members []string
	for i := 0; size > 0; i++ {
		length := min(4000, size-4)
		members = append(members, fmt.Sprintf(`"k%03d":%q`, i, strings.Repeat("v", length)))
		size -= 4 + length
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestATwinThatBreaksTheFormatIsNotSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		section  string
		at, past string
		message  []string
	}{
		{"null", "tags", `{"a":{"b":false}}`, `{"a":{"b":null}}`, []string{"spec.tags.a.b", "null"}},
		{"null in an array", "desired", `{"a":[1]}`, `{"a":[1,null]}`, []string{"spec.desired.a[1]", "null"}},
		{"key with a dot", "tags", `{"a_b":1}`, `{"a.b":1}`, []string{`spec.tags["a.b"]`, `'.'`}},
		{"key with a dollar", "desired", `{"a€":1}`, `{"$a":1}`, []string{`spec.desired["$a"]`, `'$'`}},
		{"key with a hash", "tags", `{"a-b":1}`, `{"a#b":1}`, []string{`spec.tags["a#b"]`, `'#'`}},
		{"key with a space", "tags", `{"ab":1}`, `{"a b":1}`, []string{`spec.tags["a b"]`, `' '`}},
		{"key with a control character", "desired", `{"a":1}`, `{"a\u0007":1}`, []string{`spec.desired["a\a"]`, `'\a'`}},
		{"level", "desired", deep(11, "1"), deep(11, "{}"), []string{"spec.desired.o.o", "level 11", "at most 10"}},
		{"level of arrays", "tags", deep(10, "[1]"), deep(11, "[1]"), []string{"spec.tags.o.o", "level 11", "at most 10"}},
		{"string", "tags", fmt.Sprintf(`{"a":%q}`, strings.Repeat("é", 2048)), fmt.Sprintf(`{"a":%q}`, strings.Repeat("é", 2048)+"x"), []string{"spec.tags.a", "4097", "4096"}},
		{"integer above", "desired", `{"a":4503599627370495}`, `{"a":4503599627370496}`, []string{"spec.desired.a", "4503599627370495"}},
		{"integer below", "desired", `{"a":-4503599627370496}`, `{"a":-4503599627370497}`, []string{"spec.desired.a", "-4503599627370496"}},
		{"integer by value", "tags", `{"a":1e15}`, `{"a":1e20}`, []string{"spec.tags.a", "integer outside"}},
		{"size of tags", "tags", filler(8192), filler(8193), []string{"spec.tags", "8193", "8192"}},
		{"size of desired", "desired", filler(32768), filler(32769), []string{"spec.desired", "32769", "32768"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conn := w.connect()
			w.awaitReady(conn)
			obj := w.twin("t1", "d1", "", "")
			declare := func(text string) {
				if tt.section == "tags" {
					obj.Spec.Tags = raw(text)
					return
				}
				obj.Spec.Desired = raw(text)
			}
			declare(tt.past)
			before := w.hubCalls()
			w.create(obj)
			ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonInvalidTwin)
			for _, part := range tt.message {
				w.Expect(ready.Message).To(ContainSubstring(part))
			}
			w.Expect(*obj.GetConditions()).To(ContainElement(And(
				HaveField("Type", v1alpha1.ConditionStalled), HaveField("Status", metav1.ConditionTrue))))
			w.Expect(w.hubCalls()).To(Equal(before), "the hub was asked")
			w.edit(obj, func() { declare(tt.at) })
			w.awaitReady(obj)
		})
	}
}

// hubCalls counts all that the hub was asked.
func (w *world) hubCalls() int {
	sum := 0
	for _, counted := range w.hub.Counters().Operations {
		sum += int(counted.Calls)
	}
	return sum
}

func TestAHubThatCannotBeUsedSaysWhyAndRecovers(t *testing.T) {
	t.Parallel()
	type setup struct {
		conn   *v1alpha1.HubConnection
		secret *corev1.Secret
	}
	mend := func(w *world, s setup) {
		w.edit(s.secret, func() { s.secret.Data["connectionString"] = []byte(w.credential("service")) })
	}
	tests := []struct {
		name    string
		spoil   func(w *world, s *setup)
		mend    func(w *world, s setup)
		reason  string
		message string
		calls   bool // whether the hub is asked at all
	}{
		{
			name:    "no Secret",
			spoil:   func(_ *world, s *setup) { s.secret = nil },
			mend:    func(w *world, _ setup) { w.createSecret("hub", w.credential("service")) },
			reason:  v1alpha1.ReasonSecretNotFound,
			message: `Secret "hub" of spec.auth.connectionStringSecretRef does not exist in namespace`,
		},
		{
			name:  "no such key",
			spoil: func(_ *world, s *setup) { s.conn.Spec.Auth.ConnectionStringSecretRef.Key = "other" },
			mend: func(w *world, s setup) {
				w.edit(s.secret, func() { s.secret.Data["other"] = s.secret.Data["connectionString"] })
			},
			reason:  v1alpha1.ReasonSecretNotFound,
			message: `Secret "hub" has no key "other"`,
		},
		{
			name: "malformed connection string",
			spoil: func(w *world, s *setup) {
				s.secret.StringData["connectionString"] = strings.Replace(w.credential("service"), "SharedAccessKeyName=service;", "", 1)
			},
			mend: mend, reason: v1alpha1.ReasonMalformedConnectionString, message: "SharedAccessKeyName",
		},
		{
			name: "wrong key",
			spoil: func(w *world, s *setup) {
				s.secret.StringData["connectionString"] = strings.Replace(w.credential("service"), "SharedAccessKey=", "SharedAccessKey=AAAA", 1)
			},
			mend: mend, reason: v1alpha1.ReasonUnauthorized, message: "401", calls: true,
		},
		{
			name: "host that is not allowed",
			spoil: func(w *world, s *setup) {
				s.secret.StringData["connectionString"] = strings.Replace(w.credential("service"), w.hub.HostName(), "hub.example.com", 1)
			},
			mend: mend, reason: v1alpha1.ReasonHostNotAllowed, message: "hub.example.com",
		},
		{
			name: "unknown host",
			spoil: func(w *world, s *setup) {
				s.secret.StringData["connectionString"] = strings.Replace(w.credential("service"), w.hub.HostName(), "no-such-hub.invalid", 1)
			},
			mend: mend, reason: v1alpha1.ReasonUnknownHost, message: "no-such-hub.invalid",
		},
		{
			name:    "untrusted certificate",
			spoil:   func(_ *world, s *setup) { s.conn.Spec.CABundle = nil },
			mend:    func(w *world, s setup) { w.edit(s.conn, func() { s.conn.Spec.CABundle = w.hub.CACertificatePEM() }) },
			reason:  v1alpha1.ReasonUntrustedCertificate,
			message: "caBundle",
		},
		{
			name:    "CA bundle without certificates",
			spoil:   func(_ *world, s *setup) { s.conn.Spec.CABundle = []byte("none") },
			mend:    func(w *world, s setup) { w.edit(s.conn, func() { s.conn.Spec.CABundle = w.hub.CACertificatePEM() }) },
			reason:  v1alpha1.ReasonInvalidCABundle,
			message: "spec.caBundle: Invalid value: it holds no PEM block",
		},
		{
			name: "selector with an operator that does not exist",
			spoil: func(_ *world, s *setup) {
				s.conn.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
					From: v1alpha1.NamespacesFromSelector,
					Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
						{Key: "plant", Operator: "Equals", Values: []string{"Redmond43"}},
					}},
				}
			},
			mend: func(w *world, s setup) {
				w.edit(s.conn, func() { s.conn.Spec.AllowedNamespaces.Selector.MatchExpressions[0].Operator = metav1.LabelSelectorOpIn })
			},
			reason:  v1alpha1.ReasonInvalidSelector,
			message: "spec.allowedNamespaces.selector.matchExpressions[0].operator: Invalid value: not a valid selector operator",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := setup{conn: w.connection("hub"), secret: &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "hub"},
				StringData: map[string]string{"connectionString": w.credential("service")},
			}}
			tt.spoil(w, &s)
			if s.secret != nil {
				w.create(s.secret)
			}
			w.create(s.conn)
			obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
			w.create(obj)
			ready := w.await(s.conn, metav1.ConditionFalse, tt.reason)
			w.Expect(ready.Message).To(ContainSubstring(tt.message))
			waiting := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady)
			w.Expect(waiting.Message).To(ContainSubstring(tt.reason))
			w.checkConditions()
			w.checkNoCredentials()
			w.Expect(w.hubCalls() > 0).To(Equal(tt.calls), "whether the hub was asked")
			tt.mend(w, s)
			w.awaitReady(s.conn)
			w.awaitReady(obj)
			w.Expect(w.tags("d1")).To(Equal(`{"plant":"Redmond43"}`))
		})
	}
}

func TestADeviceThatIsNotRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d2", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonDeviceNotFound)
	w.Expect(ready.Message).To(And(ContainSubstring(`"d2"`), ContainSubstring("register")))
	w.checkConditions()
	w.Expect(w.calls("updateTwin")).To(BeZero())
	w.Expect(obj.Status.Record).To(BeEmpty())
	_, err := w.hub.AddDevice("d2")
	w.Expect(err).NotTo(HaveOccurred())
	w.awaitReady(obj)
}

func TestAMalformedQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.connect()
	w.awaitReady(conn)
	query := w.query("q", "tags.plant = 'Redmond43' AND")
	w.create(query)
	ready := w.await(query, metav1.ConditionFalse, v1alpha1.ReasonInvalidQuery)
	w.Expect(ready.Message).To(And(HavePrefix("spec.where: "), MatchRegexp(`column|position|offset|line`)))
	w.checkConditions()
	w.Expect(w.calls("query")).To(BeZero())
	w.edit(query, func() { query.Spec.Where = "tags.plant = 'Redmond43'" })
	w.awaitReady(query)
}

func TestANamespaceThatIsNotAdmitted(t *testing.T) {
	t.Parallel()
	admin := newClient(t)
	other := testenv.Namespace(t, admin, map[string]string{"plant": "other"})
	w := newWorld(t, withNamespace(other))
	conn := w.connect()
	w.awaitReady(conn)
	before := w.hubCalls()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	obj.Namespace, obj.Spec.HubRef.Namespace = other, w.ns
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
	w.Expect(ready.Message).To(And(ContainSubstring(other), ContainSubstring("spec.allowedNamespaces")))
	query := w.query("q", "tags.plant = 'Redmond43'")
	query.Namespace, query.Spec.HubRef.Namespace = other, w.ns
	w.create(query)
	w.await(query, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
	w.Expect(w.hubCalls()).To(Equal(before), "the hub was asked")

	w.edit(conn, func() {
		conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromSelector
		conn.Spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"plant": "admitted"}}
	})
	w.awaitReady(conn)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}}
	w.edit(namespace, func() { namespace.Labels["plant"] = "admitted" })
	w.awaitReady(obj)
	w.awaitReady(query)
	w.edit(namespace, func() { namespace.Labels["plant"] = "other" })
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
	w.edit(conn, func() {
		conn.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}
	})
	w.awaitReady(obj)
}

func TestAHubThatDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotFound)
	w.Expect(ready.Message).To(ContainSubstring(`HubConnection "hub" does not exist`))
	w.checkConditions()
	w.connect()
	w.awaitReady(obj)
}

func TestAHubThatIsOutOfOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault  hubemulator.Fault
		reason string
	}{
		"answers 503":      {hubemulator.Fault{Operation: "getTwin", Action: "status", Status: 503, ErrorCode: "ServiceUnavailable"}, v1alpha1.ReasonHubError},
		"throttles":        {hubemulator.Fault{Operation: "getTwin", Action: "status", Status: 429, ErrorCode: "ThrottlingBacklogTimeout"}, v1alpha1.ReasonThrottled},
		"is out of quota":  {hubemulator.Fault{Operation: "getTwin", Action: "status", Status: 403, ErrorCode: "IotHubQuotaExceeded"}, v1alpha1.ReasonQuotaExceeded},
		"cuts connections": {hubemulator.Fault{Operation: "getTwin", Action: "dropAnswer"}, v1alpha1.ReasonHubUnreachable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.connect()
			obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
			w.create(obj)
			w.awaitReady(obj)
			fault, err := w.hub.AddFault(tt.fault)
			w.Expect(err).NotTo(HaveOccurred())
			w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond45"}`) })
			w.await(obj, metav1.ConditionFalse, tt.reason)
			w.checkConditions()
			w.Expect(*obj.GetConditions()).To(ContainElement(And(
				HaveField("Type", v1alpha1.ConditionSynced), HaveField("Status", metav1.ConditionUnknown))))
			w.Expect(obj.Status.ETag).NotTo(BeEmpty(), "what was seen last stays")
			w.hub.RemoveFault(fault)
			if tt.reason == v1alpha1.ReasonQuotaExceeded || tt.reason == v1alpha1.ReasonThrottled {
				w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond44"}`) }) // a person need not wait
			}
			w.awaitReady(obj)
		})
	}
}
