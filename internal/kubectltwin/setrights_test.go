package kubectltwin_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

func setRule(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"devicetwinsets"}, Verbs: verbs}
}

// TestMissingRightsOnSets are told in one line.
func TestMissingRightsOnSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.annotated("line-7", progress(v1alpha1.SetAwaitingApproval, "canary"))
	w.as("viewer", setRule("get"))
	w.Expect(w.ok("rollout", "line-7")).To(ContainSubstring("AwaitingApproval"))
	for _, verb := range []string{"approve set/line-7", "abort line-7", "rollback line-7", "pause line-7", "suspend set/line-7"} {
		r := w.run(strings.Fields(verb)...)
		w.Expect(r.Code).To(Equal(cluster.ExitFound), verb)
		w.Expect(r.Out).To(BeEmpty())
		w.Expect(lineOf(r.Err, "failed:")).To(And(HavePrefix("devicetwinset/line-7 of "+w.ns+" failed: "), ContainSubstring(`cannot patch resource "devicetwinsets"`)), verb)
	}
	w.as("stranger")
	w.Expect(w.refused("rollout", "line-7")).To(ContainSubstring("cannot get resource"))
	w.Expect(w.run("abort", "line-7").Err).To(ContainSubstring("devicetwinset/line-7 failed: devicetwinsets.iothub.devicetwin.io \"line-7\" is forbidden"))
}

// TestAPolicyMayRefuseAnApproval: what it says is what the user reads.
func TestAPolicyMayRefuseAnApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, annotation := w.annotated("line-7", progress(v1alpha1.SetAwaitingApproval, "canary"))
	const says = "approvals are for those who may approve devicetwinsets"
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "approvals-" + w.ns},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule: admissionv1.Rule{
					APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, APIVersions: []string{"*"}, Resources: []string{"devicetwinsets"},
				},
			}}}},
			Validations: []admissionv1.Validation{{
				Expression: "!has(object.metadata.annotations) || !('" + v1alpha1.ApproveAnnotation + "' in object.metadata.annotations)", Message: says,
			}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: policy.ObjectMeta,
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.ns}}},
		},
	}
	w.Expect(w.client.Create(w.Context(), policy)).To(Succeed())
	w.Expect(w.client.Create(w.Context(), binding)).To(Succeed())
	t.Cleanup(func() {
		w.Expect(w.client.Delete(context.Background(), binding)).To(Succeed())
		w.Expect(w.client.Delete(context.Background(), policy)).To(Succeed())
	})
	var refused result
	w.Eventually(func() int { // the API server takes a moment to heed a policy
		refused = w.run("approve", "set/line-7", "--dry-run=server")
		return refused.Code
	}, patience).Should(Equal(cluster.ExitFound))
	w.Expect(lineOf(refused.Err, "failed:")).To(ContainSubstring(says))
	r := w.run("approve", "set/line-7")
	w.Expect(r.Code).To(Equal(cluster.ExitFound))
	w.Expect(lineOf(r.Err, "failed:")).To(And(HavePrefix("devicetwinset/line-7 of "+w.ns+" failed: "), ContainSubstring(says)))
	w.Expect(strings.Count(r.Err, "\n")).To(Equal(2), "one line, and the counts: "+r.Err)
	w.Expect(annotation(v1alpha1.ApproveAnnotation)).To(BeEmpty())
	w.ok("pause", "line-7")
}

func twinRule(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"devicetwins", "hubconnections"}, Verbs: verbs}
}

// isSets tells whether a request is about DeviceTwinSets.
func isSets(request *http.Request) bool { return strings.Contains(request.URL.Path, "/devicetwinsets") }
