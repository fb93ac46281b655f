package config_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// grant binds a ClusterRole to a ServiceAccount of the namespace, there alone.
func grant(t *testing.T, c client.Client, namespace, account, role string) {
	t.Helper()
	NewWithT(t).Expect(c.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: account + "-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	})).To(Succeed())
}

func presses(namespace, name string, annotations map[string]string) *v1alpha1.DeviceTwinSet {
	set := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: annotations}}
	set.Spec.HubRef.Name, set.Spec.MaxDevices, set.Spec.Selector.Where = "hub", 10, "tags.kind = 'press'"
	set.Spec.Template.Desired = &runtime.RawExtension{Raw: []byte(`{"telemetryInterval":30}`)}
	return set
}

func mergePatch(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }

// TestWhoMayApprove: those who have the verb, and not all who may edit; which is all that is
// refused to an editor.
func TestWhoMayApprove(t *testing.T) {
	const (
		refusal = "metadata.annotations: you may not set, change or delete iothub.devicetwin.io/approve and iothub.devicetwin.io/rollout of DeviceTwinSet "
		advice  = ": it takes the verb approve on devicetwinsets; ask for a RoleBinding to the ClusterRole devicetwinset-approver-role of this installation"
		approve = `{"metadata":{"annotations":{"iothub.devicetwin.io/approve":"2f39ab7f05/canary"}}}`
		abort   = `{"metadata":{"annotations":{"iothub.devicetwin.io/rollout":"2f39ab7f05/abort"}}}`
	)
	g := NewWithT(t)
	c := newClient(t)
	ensureNamespace(t, c, systemNamespace)
	apply(t, c, systemNamespace, build(t, "test/config/testdata/without-webhook"))
	namespace := testenv.Namespace(t, c, nil)
	elsewhere := testenv.Namespace(t, c, nil)
	grant(t, c, namespace, "editor", "devicetwin-devicetwinset-editor-role")
	grant(t, c, namespace, "approver", "devicetwin-devicetwinset-approver-role")
	grant(t, c, namespace, "admin", "devicetwin-devicetwinset-admin-role")
	grant(t, c, elsewhere, "editor", "devicetwin-devicetwinset-editor-role")
	editor, approver, admin := as(t, namespace, "editor"), as(t, namespace, "approver"), as(t, namespace, "admin")

	set := presses(namespace, "presses", nil)
	g.Eventually(func() error { return editor.Create(t.Context(), set.DeepCopy()) }, time.Minute, "200ms").Should(Succeed())
	expectRefused := func(name string, err error) {
		t.Helper()
		g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
		g.Expect(err.Error()).To(HaveSuffix(refusal + namespace + "/" + name + advice))
	}
	// A policy holds a moment after it was written.
	g.Eventually(func() error { return editor.Patch(t.Context(), set.DeepCopy(), mergePatch(approve), client.DryRunAll) }, time.Minute, "200ms").
		ShouldNot(Succeed())
	expectRefused("presses", editor.Patch(t.Context(), set.DeepCopy(), mergePatch(approve)))
	expectRefused("presses", editor.Patch(t.Context(), set.DeepCopy(), mergePatch(abort)))
	expectRefused("approved", editor.Create(t.Context(), presses(namespace, "approved", map[string]string{v1alpha1.ApproveAnnotation: "2f39ab7f05/canary"})))
	for what, edit := range map[string]string{
		"the template":        `{"spec":{"template":{"desired":{"a":1}}}}`,
		"a pause":             `{"spec":{"rollout":{"paused":true}}}`,
		"another annotation":  `{"metadata":{"annotations":{"iothub.devicetwin.io/reconcileAt":"now","team":"press"}}}`,
		"that one taken back": `{"metadata":{"annotations":{"team":null}}}`,
	} {
		g.Expect(editor.Patch(t.Context(), set.DeepCopy(), mergePatch(edit))).To(Succeed(), what)
	}

	g.Eventually(func() error { return approver.Patch(t.Context(), set.DeepCopy(), mergePatch(approve)) }, time.Minute, "200ms").Should(Succeed())
	g.Expect(admin.Patch(t.Context(), set.DeepCopy(), mergePatch(abort))).To(Succeed(), "whose verbs are all")
	g.Expect(editor.Patch(t.Context(), set.DeepCopy(), mergePatch(`{"metadata":{"labels":{"line":"3"}}}`))).To(Succeed(), "beside what others approved")
	expectRefused("presses", editor.Patch(t.Context(), set.DeepCopy(), mergePatch(`{"metadata":{"annotations":{"iothub.devicetwin.io/rollout":null}}}`)))
	expectRefused("presses", editor.Patch(t.Context(), set.DeepCopy(), mergePatch(`{"metadata":{"annotations":{"iothub.devicetwin.io/approve":"2f39ab7f05/tenth"}}}`)))
	err := approver.Create(t.Context(), presses(namespace, "another", nil))
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "the role creates nothing: %v", err)

	other := presses(elsewhere, "presses", nil)
	g.Expect(as(t, elsewhere, "editor").Create(t.Context(), other)).To(Succeed())
	g.Expect(approver.Patch(t.Context(), other, mergePatch(approve))).NotTo(Succeed(), "the right is one in a namespace")
}
