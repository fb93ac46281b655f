package chart_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// webhookAddress is the Service's, on loopback, so that the API server finds the manager there.
const webhookAddress = "127.0.0.10"

// trial is the chart with an emulated hub, on ports of this machine.
type trial struct {
	*installation
	values                        []string
	webhook, metrics, probes, hub string
}

// TestHelmTest has Helm test an installation before its manager runs, and with it. The test is the kubelet: it runs the
// Pod's program with the Pod's arguments and the Pod's account.
func TestHelmTest(t *testing.T) {
	i := &trial{installation: newInstallation(t), webhook: freePort(t), metrics: freePort(t), probes: freePort(t), hub: freePort(t)}
	i.values = []string{
		"--set", "emulator.enabled=true,emulator.hostname=localhost,emulator.ports.https=" + i.hub,
		"--set", "webhook.service.clusterIP=" + webhookAddress + ",webhook.service.port=" + i.webhook + ",ports.webhook=" + i.webhook,
		"--set", "ports.metrics=" + i.metrics + ",ports.probes=" + i.probes, "--set", "crds.keep=false",
	}
	i.helm(append([]string{"install", release, chart, "--create-namespace"}, i.values...)...)
	t.Cleanup(func() {
		_, err := helm(t, i.kubeconfig, "uninstall", release, "--namespace", namespace)
		i.Expect(err).NotTo(HaveOccurred())
		i.crdGone()
	})

	out, err := i.test("--patience=6s")
	i.Expect(err).To(MatchError(ContainSubstring("failed")))
	i.Expect(strings.Split(out, "\n")).To(HaveExactElements(
		HavePrefix("ok       kinds: "), ContainSubstring("nothing answers at "+release+"-webhook.devicetwin-system.svc:"+i.webhook),
		And(HavePrefix("FAILED   metrics: "), ContainSubstring("nothing answers")),
		And(HavePrefix("FAILED   hub: "), ContainSubstring("no manager has taken up the HubConnection")), "",
	))

	i.expectNothingLeft()
	i.Expect(get(i.installation, i.pod()).Status.Phase).To(Equal(corev1.PodFailed), "its log is to be read")

	i.startHub()
	i.startManager()
	out, err = i.test("--patience=30s")
	i.Expect(err).NotTo(HaveOccurred(), out)
	i.Expect(strings.Split(out, "\n")).To(HaveExactElements(
		HavePrefix("ok       kinds: "), HavePrefix("ok       webhook: "), HavePrefix("ok       metrics: "),
		HavePrefix("ok       hub: a HubConnection to localhost:"+i.hub), "",
	))
	i.expectNothingLeft()
	i.gone(i.pod())
}

// pod is the one of the test.
func (i *trial) pod() *corev1.Pod { return &corev1.Pod{ObjectMeta: named(namespace, release+"-test")} }

// test runs `helm test`, and returns what the Pod's program printed.
func (i *trial) test(extra string) (string, error) {
	i.t.Helper()
	ctx, cancel := context.WithCancel(i.t.Context())
	defer cancel()
	logs := make(chan string, 1)
	go func() { logs <- i.runTestPod(ctx, extra) }()
	_, err := helm(i.t, i.kubeconfig, "test", release, "--namespace", namespace, "--timeout", "2m")
	cancel()
	return <-logs, err
}

// runTestPod waits for the Pod and runs its program.
func (i *trial) runTestPod(ctx context.Context, extra string) string {
	pod := i.pod()
	found := func(g Gomega) {
		g.Expect(i.client.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		g.Expect(pod.Status.Phase).To(Equal(corev1.PodPending), "the Pod of the test before is still there")
	}
	if !NewWithT(i.t).Eventually(found, patience).WithContext(ctx).Should(Succeed()) {
		return ""
	}
	out, err := i.runContainer(ctx, pod, extra)
	pod.Status.Phase = corev1.PodSucceeded
	if err != nil {
		pod.Status.Phase = corev1.PodFailed
	}
	if err := i.client.Status().Update(ctx, pod); err != nil {
		i.t.Errorf("saying how the Pod ended: %v", err)
	}
	return out
}

// runContainer runs the only container: its account's token, its volume, and what the names of Services lead to.
func (i *trial) runContainer(ctx context.Context, pod *corev1.Pod, extra string) (string, error) {
	container := pod.Spec.Containers[0]
	account := &corev1.ServiceAccount{ObjectMeta: named(namespace, pod.Spec.ServiceAccountName)}
	request := &authenticationv1.TokenRequest{}
	if err := i.client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", err
	}
	config := rest.AnonymousClientConfig(cluster.Config())
	config.BearerToken = request.Status.Token
	mounts := i.t.TempDir()
	source := pod.Spec.Volumes[0].Secret
	secret := &corev1.Secret{ObjectMeta: named(namespace, source.SecretName)}
	if err := i.client.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return "", err
	}
	for _, item := range source.Items {
		if err := os.WriteFile(filepath.Join(mounts, item.Path), secret.Data[item.Key], 0o600); err != nil {
			return "", err
		}
	}
	here := strings.NewReplacer(
		container.VolumeMounts[0].MountPath, mounts,
		release+"-manager-metrics."+namespace+".svc:8443", "127.0.0.1:"+i.metrics,
	)
	args := []string{}
	for _, arg := range container.Args {
		args = append(args, here.Replace(arg))
	}
	args = append(args, extra, "--kubeconfig="+kubeconfigOf(i.t, config))
	cmd := exec.CommandContext(ctx, filepath.Join(programs, filepath.Base(container.Command[0])), args...)
	out, err := cmd.Output() // what it says on standard error is in its status
	return string(out), err
}

// startHub starts what the chart's Deployment of the emulator would run.
func (i *trial) startHub() {
	i.t.Helper()
	given := get(i.installation, &corev1.Secret{ObjectMeta: named(namespace, release+"-emulator")}).Data
	hub, err := hubemulator.Start(i.t.Context(), hubemulator.Options{
		HTTPSAddress: "127.0.0.1:" + i.hub, PolicyKeys: map[string]string{"iothubowner": string(given["iothubowner.key"])},
		CACertificate: given["ca.crt"], CAKey: given["ca.key"],
	})
	i.Expect(err).NotTo(HaveOccurred())
	i.t.Cleanup(func() { i.Expect(hub.Close()).To(Succeed()) })
}

// startManager starts what the chart's Deployment would run, with the rights of its account alone.
func (i *trial) startManager() {
	i.t.Helper()
	deployment := get(i.installation, &appsv1.Deployment{ObjectMeta: named(namespace, release+"-manager")})
	secret := get(i.installation, &corev1.Secret{ObjectMeta: named(namespace, deployment.Spec.Template.Spec.Volumes[0].Secret.SecretName)})
	certificate := i.t.TempDir()
	for name, content := range secret.Data {
		i.Expect(os.WriteFile(filepath.Join(certificate, name), content, 0o600)).To(Succeed())
	}
	config, err := cluster.ServiceAccountConfig(namespace, deployment.Spec.Template.Spec.ServiceAccountName)
	i.Expect(err).NotTo(HaveOccurred())
	container := deployment.Spec.Template.Spec.Containers[0]
	startManager(i.t, container, environment(container, "127.0.0.1"), "--kubeconfig="+kubeconfigOf(i.t, config),
		"--leader-elect-namespace="+namespace, "--webhook-cert-dir="+certificate, "--webhook-bind-address="+webhookAddress+":"+i.webhook)
}

// expectNothingLeft of what the test needs, its Pod aside, and of what it makes.
func (i *trial) expectNothingLeft() {
	i.t.Helper()
	for _, object := range []client.Object{
		&corev1.ServiceAccount{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{},
	} {
		err := i.client.Get(i.t.Context(), client.ObjectKey{Namespace: namespace, Name: release + "-test"}, object)
		i.Expect(err).To(MatchError(apierrors.IsNotFound, "not found"), "%T", object)
	}
	i.Eventually(func() []v1alpha1.HubConnection {
		var list v1alpha1.HubConnectionList
		i.Expect(i.client.List(i.t.Context(), &list)).To(Succeed())
		return list.Items
	}, patience).Should(BeEmpty())
}
