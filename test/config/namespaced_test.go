package config_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// lease is the name of the Lease of managers with a selector and namespaces.
func lease(t *testing.T, selector, namespaces string) string {
	t.Helper()
	g := NewWithT(t)
	selected, err := shard.Parse(selector)
	g.Expect(err).NotTo(HaveOccurred())
	part, err := selected.In(namespaces)
	g.Expect(err).NotTo(HaveOccurred())
	return part.Lease("devicetwin-operator.iothub.devicetwin.io")
}

// leases are those that the manager may renew.
func leases(t *testing.T, objects []*unstructured.Unstructured) []string {
	t.Helper()
	var names []string
	for _, rule := range find[rbacv1.Role](t, objects, "Role", "leader-election-role").Rules {
		if slices.Contains(rule.Resources, "leases") && slices.Contains(rule.Verbs, "update") {
			names = append(names, rule.ResourceNames...)
		}
	}
	return names
}

// TestTheManagerMayRenewItsLease alone: the names in the roles are those that managers give.
func TestTheManagerMayRenewItsLease(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	g.Expect(leases(t, build(t, "config/default"))).To(ConsistOf(lease(t, "", "")))
	g.Expect(leases(t, build(t, "test/config/testdata/namespaced"))).To(ConsistOf(lease(t, "", "plant-a,plant-b")))
}

// TestNoSecretsAreCreated where the component takes that right away, and just that.
func TestNoSecretsAreCreated(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	all, without := names(build(t, "config/default")), names(build(t, "test/config/testdata/without-secret-creation"))
	g.Expect(all).To(ConsistOf(append(without, "ClusterRole devicetwin-secret-creator-role", "ClusterRoleBinding devicetwin-secret-creator-rolebinding")))
	for _, rule := range find[rbacv1.ClusterRole](t, build(t, "config/rbac"), "ClusterRole", "manager-role").Rules {
		if slices.Contains(rule.Resources, "secrets") {
			g.Expect(rule.Verbs).To(ConsistOf("get", "list", "watch"))
		}
	}
}

// TestAManagerOfSomeNamespaces has the rules of config/rbac in each of them, and nothing
// anywhere else.
func TestAManagerOfSomeNamespaces(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	env, err := testenv.Start(testenv.Options{CRDDirs: []string{certManager}}) // others give the account more rights
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(env.Stop()).To(Succeed()) })
	c := env.StrictClient(t)
	for _, name := range []string{"plant-a", "plant-b"} {
		ensureNamespace(t, c, name)
	}
	const dir = "test/config/testdata/namespaced"
	objects := build(t, dir)
	for _, object := range objects {
		g.Expect(object.GetKind()).NotTo(Equal("ClusterRoleBinding"), object.GetName())
	}
	g.Expect(names(objects)).NotTo(ContainElement(ContainSubstring("secret-creator")))
	g.Expect(names(objects)).NotTo(ContainElement(ContainSubstring("metrics-auth")))
	g.Expect(names(build(t, "config/namespaced"))).To(ConsistOf(
		"Role devicetwin-manager-role", "RoleBinding devicetwin-manager-rolebinding",
		"Role devicetwin-secret-creator-role", "RoleBinding devicetwin-secret-creator-rolebinding"))

	want := find[rbacv1.ClusterRole](t, build(t, "config/rbac"), "ClusterRole", "manager-role").Rules
	deployment := install(t, c, dir, systemNamespace)
	for _, namespace := range []string{"plant-a", "plant-b"} {
		var role rbacv1.Role
		g.Expect(c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "devicetwin-manager-role"}, &role)).To(Succeed())
		g.Expect(role.Rules).To(Equal(want))
	}
	config, err := env.ServiceAccountConfig(deployment.Namespace, deployment.Spec.Template.Spec.ServiceAccountName)
	g.Expect(err).NotTo(HaveOccurred())
	manager, err := client.New(config, client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	const group = "iothub.devicetwin.io"
	expectRights(t, manager, []right{
		{"plant-a", "watch", group, "devicetwins", "", true},
		{"plant-b", "patch", group, "devicetwins", "status", true},
		{"plant-a", "get", "", "secrets", "", true},
		{"plant-a", "get", "", "namespaces/plant-a", "", true},
		{"plant-a", "create", "events.k8s.io", "events", "", true},

		{"plant-a", "create", "", "secrets", "", false},
		{"plant-c", "get", "", "namespaces/plant-c", "", false},
		{"plant-c", "get", "", "secrets", "", false},
		{"plant-c", "list", group, "hubconnections", "", false},
		{"", "list", group, "devicetwins", "", false},
		{"", "watch", "", "namespaces", "", false},
		{"", "create", "authentication.k8s.io", "tokenreviews", "", false},
	})
}
