package testenv

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Namespace creates a namespace of the test's own and returns its name, so that
// tests that share one API server do not see each other's objects. labels are
// put on it; nil is fine. It is left behind: nothing here would empty it, and
// the API server does not outlive the suite.
func Namespace(t testing.TB, c client.Client, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("creating a namespace for the test: %v", err)
	}
	return ns.Name
}
