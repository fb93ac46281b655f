package config_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// as is a client of a ServiceAccount.
func as(t *testing.T, namespace, name string) client.Client {
	t.Helper()
	config := rest.CopyConfig(cluster.Config())
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + name,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		NewWithT(t).Expect(add(scheme)).To(Succeed())
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return c
}

// secret is one that a DeviceTwin controls; change makes another one of it.
func secret(change func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "kube-system", GenerateName: "policy-",
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DeviceTwin", Name: "thermostat-1", UID: "1", Controller: ptr.To(true),
			}},
		},
		Type: corev1.SecretTypeOpaque,
	}
	change(s)
	return s
}

// TestTheManagerMakesNoOtherSecrets, by whatever name it is installed: above all none that holds another account's token.
func TestTheManagerMakesNoOtherSecrets(t *testing.T) {
	c := newClient(t)
	for dir, namespace := range map[string]string{"config/default": "devicetwin-system", "test/config/testdata/overlay": "plant-operations"} {
		ensureNamespace(t, c, namespace)
		apply(t, c, namespace, build(t, dir))
		manager := as(t, namespace, "devicetwin-manager")
		for name, tt := range map[string]struct {
			change func(*corev1.Secret)
			want   string // part of the refusal
		}{
			"a token of another account": {func(s *corev1.Secret) {
				s.Type = corev1.SecretTypeServiceAccountToken
				s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
			}, "of the type Opaque alone"},
			"without an owner":     {func(s *corev1.Secret) { s.OwnerReferences = nil }, "that a DeviceTwin controls"},
			"another kind's":       {func(s *corev1.Secret) { s.OwnerReferences[0].Kind = "HubConnection" }, "that a DeviceTwin controls"},
			"another group's":      {func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "v1" }, "that a DeviceTwin controls"},
			"not controlled by it": {func(s *corev1.Secret) { s.OwnerReferences[0].Controller = nil }, "that a DeviceTwin controls"},
		} {
			t.Run(namespace+"/"+name, func(t *testing.T) {
				g := NewWithT(t)
				// A policy holds a moment after it was written.
				g.Eventually(func() error { return manager.Create(t.Context(), secret(tt.change)) }, time.Minute, "200ms").
					Should(MatchError(ContainSubstring(tt.want)))
				g.Expect(c.Create(t.Context(), secret(tt.change))).To(Succeed(), "the policy is for the manager alone")
			})
		}
		NewWithT(t).Expect(manager.Create(t.Context(), secret(func(*corev1.Secret) {}))).To(Succeed())
	}
}
