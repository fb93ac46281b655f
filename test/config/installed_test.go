package config_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// install applies what a folder gives and returns its Deployment.
func install(t *testing.T, c client.Client, dir, namespace string) *appsv1.Deployment {
	t.Helper()
	apply(t, c, namespace, build(t, dir))
	deployment := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: namespace, Name: "devicetwin-manager"}
	NewWithT(t).Expect(c.Get(t.Context(), key, deployment)).To(Succeed())
	return deployment
}

// pod is what the Deployment would start if anything here ran Deployments.
func pod(deployment *appsv1.Deployment) *corev1.Pod {
	template := deployment.Spec.Template.DeepCopy()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:    deployment.Namespace,
			GenerateName: deployment.Name + "-",
			Labels:       template.Labels,
			Annotations:  template.Annotations,
		},
		Spec: template.Spec,
	}
}

func TestOverlayAddsTheSidecar(t *testing.T) {
	g := NewWithT(t)
	c := newClient(t)
	spec := install(t, c, "test/config/testdata/overlay", "plant-operations").Spec.Template.Spec

	g.Expect(spec.Containers).To(HaveLen(1))
	g.Expect(spec.Containers[0].Image).To(Equal("registry.example.com/devicetwin-operator:v1"))
	g.Expect(spec.InitContainers).To(HaveLen(1))
	sidecar := spec.InitContainers[0]
	g.Expect(sidecar.Name).To(Equal("devicesim"))
	g.Expect(sidecar.Image).To(Equal("registry.example.com/devicesim:v1"))
	g.Expect(sidecar.RestartPolicy).To(HaveValue(Equal(corev1.ContainerRestartPolicyAlways)), "a native sidecar")
	g.Expect(sidecar.Args).To(ContainElement("--connection-string-file=/etc/devicesim/connection/connectionString"))

	mounts := map[string]string{}
	for _, mount := range sidecar.VolumeMounts {
		mounts[mount.Name] = mount.MountPath
	}
	g.Expect(mounts).To(Equal(map[string]string{
		"devicesim-connection": "/etc/devicesim/connection",
		"devicesim-ca":         "/etc/devicesim/ca",
	}))
	for _, volume := range spec.Volumes {
		g.Expect(volume.Secret).NotTo(BeNil(), volume.Name)
		if mounts[volume.Name] == "" {
			continue // the manager's own
		}
		g.Expect(volume.Secret.SecretName).To(Equal("devicesim-connection"))
		g.Expect(ptr.Deref(volume.Secret.Optional, false)).To(Equal(volume.Name == "devicesim-ca"),
			"only the certificate may be missing")
	}
}

// TestBindingsFollowTheNamespace: an overlay's namespace must reach the
// subjects of the role bindings, or the manager would have no rights there.
func TestBindingsFollowTheNamespace(t *testing.T) {
	g := NewWithT(t)
	c := newClient(t)
	for _, tc := range []struct{ dir, namespace string }{
		{"config/default", systemNamespace},
		{"test/config/testdata/overlay", "plant-operations"},
	} {
		install(t, c, tc.dir, tc.namespace)
		for _, name := range []string{"devicetwin-manager-rolebinding", "devicetwin-metrics-auth-rolebinding"} {
			var binding rbacv1.ClusterRoleBinding
			g.Expect(c.Get(t.Context(), client.ObjectKey{Name: name}, &binding)).To(Succeed())
			g.Expect(binding.Subjects).To(ConsistOf(rbacv1.Subject{
				Kind: "ServiceAccount", Name: "devicetwin-manager", Namespace: tc.namespace,
			}), tc.dir)
		}
	}
}

// TestPodsPassTheRestrictedStandard lets the API server's own pod security
// admission judge the pods, in the namespace that config/default makes.
func TestPodsPassTheRestrictedStandard(t *testing.T) {
	g := NewWithT(t)
	c := newClient(t)
	for dir, namespace := range map[string]string{
		"config/default":               systemNamespace,
		"test/config/testdata/overlay": "plant-operations",
	} {
		deployment := install(t, c, dir, namespace)
		g.Expect(c.Create(t.Context(), pod(deployment), client.DryRunAll)).To(Succeed(), dir)

		careless := pod(deployment)
		careless.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
		err := c.Create(t.Context(), careless, client.DryRunAll)
		g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%s: the standard is not enforced: %v", dir, err)
	}
}

// TestManagerMayDoItsWorkAndNoMore asks the API server's authorizer, as the
// ServiceAccount that config/default makes.
func TestManagerMayDoItsWorkAndNoMore(t *testing.T) {
	g := NewWithT(t)
	deployment := install(t, newClient(t), "config/default", systemNamespace)
	config, err := cluster.ServiceAccountConfig(deployment.Namespace, deployment.Spec.Template.Spec.ServiceAccountName)
	g.Expect(err).NotTo(HaveOccurred())
	manager, err := client.New(config, client.Options{})
	g.Expect(err).NotTo(HaveOccurred())

	const group = "iothub.devicetwin.io"
	expectRights(t, manager, []right{
		{"anywhere", "watch", group, "devicetwins", "", true},
		{"anywhere", "patch", group, "devicetwins", "", true},
		{"anywhere", "patch", group, "devicetwins", "status", true},
		{"anywhere", "patch", group, "hubconnections", "status", true},
		{"anywhere", "patch", group, "twinqueries", "status", true},
		{"anywhere", "patch", group, "twinrequests", "status", true},
		{"anywhere", "delete", group, "twinrequests", "", true},
		{"anywhere", "create", group, "twinrequests", "", false},
		{"anywhere", "patch", group, "twinrequests", "", false},
		{"anywhere", "get", "", "secrets", "", true},
		{"anywhere", "create", "", "secrets", "", true},
		{"anywhere", "create", "events.k8s.io", "events", "", true},
		{systemNamespace, "create", "coordination.k8s.io", "leases", "", true},
		{systemNamespace, "update", "coordination.k8s.io", "leases/" + lease(t, "", ""), "", true},
		{systemNamespace, "get", "coordination.k8s.io", "leases/" + lease(t, "", ""), "", true},
		{systemNamespace, "create", "", "events", "", true},
		{"", "create", "authentication.k8s.io", "tokenreviews", "", true},
		{"", "create", "authorization.k8s.io", "subjectaccessreviews", "", true},

		{"anywhere", "delete", group, "devicetwins", "", false},
		{"anywhere", "create", group, "devicetwins", "", false},
		{"anywhere", "patch", group, "hubconnections", "", false},
		{"anywhere", "update", "", "secrets", "", false},
		{"anywhere", "create", "coordination.k8s.io", "leases", "", false},
		{systemNamespace, "update", "coordination.k8s.io", "leases/another", "", false},
		{systemNamespace, "list", "coordination.k8s.io", "leases", "", false},
		{"anywhere", "create", "", "serviceaccounts", "token", false},
		{"anywhere", "create", "", "pods", "", false},
	})
}

// right is one to do something with a resource of a namespace, and whether there is it.
type right struct {
	namespace, verb, group, resource, subresource string
	allowed                                       bool
}

// expectRights asks the API server's authorizer, as the manager. A resource may be followed
// by the name of one object, as in leases/name.
func expectRights(t *testing.T, manager client.Client, rights []right) {
	t.Helper()
	g := NewWithT(t)
	for _, tc := range rights {
		resource, name, _ := strings.Cut(tc.resource, "/")
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: tc.namespace, Verb: tc.verb, Group: tc.group, Resource: resource, Subresource: tc.subresource, Name: name,
			},
		}}
		g.Expect(manager.Create(t.Context(), review)).To(Succeed())
		g.Expect(review.Status.Allowed).To(Equal(tc.allowed), "%+v", tc)
	}
}
