package controller_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/examples/controller"
)

const patience = 20 * time.Second

// The API server takes seconds to start, so all tests share it. A hub takes
// milliseconds: each test has its own, and they run side by side.
func TestController(t *testing.T) {
	t.Parallel()
	cluster := startAPIServer(t)

	t.Run("a label becomes a tag", func(t *testing.T) {
		t.Parallel()
		g := NewWithT(t)
		hub := startHub(t, hubemulator.Options{Devices: []string{"thermostat-1"}})
		kube, namespace := startController(t, cluster, hub)

		object := configMap(namespace, map[string]string{"device": "thermostat-1", "location": "Redmond43"})
		g.Expect(kube.Create(t.Context(), object)).To(Succeed())
		g.Eventually(location(t, hub, "thermostat-1"), patience).Should(Equal("Redmond43"))

		object.Labels["location"] = "Redmond44"
		g.Expect(kube.Update(t.Context(), object)).To(Succeed())
		g.Eventually(location(t, hub, "thermostat-1"), patience).Should(Equal("Redmond44"))

		delete(object.Labels, "location")
		g.Expect(kube.Update(t.Context(), object)).To(Succeed())
		g.Eventually(location(t, hub, "thermostat-1"), patience).Should(BeNil())
	})

	// What is hard to get from a real hub is one line here: it refuses the
	// first two updates.
	t.Run("a busy hub is asked again", func(t *testing.T) {
		t.Parallel()
		g := NewWithT(t)
		hub := startHub(t, hubemulator.Options{Devices: []string{"thermostat-1"}})
		_, err := hub.AddFault(hubemulator.Fault{
			Operation: "updateTwin", Action: hubemulator.FaultStatus, Status: http.StatusServiceUnavailable, Count: 2,
		})
		g.Expect(err).NotTo(HaveOccurred())
		kube, namespace := startController(t, cluster, hub)

		g.Expect(kube.Create(t.Context(), configMap(namespace, map[string]string{"device": "thermostat-1", "location": "Redmond43"}))).To(Succeed())
		g.Eventually(location(t, hub, "thermostat-1"), patience).Should(Equal("Redmond43"))
		g.Expect(hub.Counters().Operations["updateTwin"].Statuses).To(Equal(map[string]int64{"503": 2, "200": 1}))
	})

	// The hub may start with whatever twins a test needs.
	t.Run("the other tags stay", func(t *testing.T) {
		t.Parallel()
		g := NewWithT(t)
		hub := startHub(t, hubemulator.Options{Fleet: &hubemulator.Fleet{Devices: []hubemulator.FleetDevice{
			{ID: "device-{{n}}", Count: 3, Tags: map[string]any{"floor": 3, "location": "unknown"}},
		}}})
		kube, namespace := startController(t, cluster, hub)

		g.Expect(kube.Create(t.Context(), configMap(namespace, map[string]string{"device": "device-2", "location": "Redmond43"}))).To(Succeed())
		g.Eventually(location(t, hub, "device-2"), patience).Should(Equal("Redmond43"))
		g.Expect(tags(t, hub, "device-2")).To(HaveKeyWithValue("floor", 3.0))
		g.Expect(tags(t, hub, "device-1")).To(HaveKeyWithValue("location", "unknown"))
	})
}

// startAPIServer runs etcd and kube-apiserver until the test ends.
func startAPIServer(t *testing.T) *rest.Config {
	t.Helper()
	environment := &envtest.Environment{BinaryAssetsDirectory: binaries(t), ControlPlaneStartTimeout: time.Minute}
	cluster, err := environment.Start()
	if err != nil {
		t.Fatalf("no API server: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// startHub runs a hub until the test ends.
func startHub(t *testing.T, opts hubemulator.Options) *hubemulator.Server {
	t.Helper()
	hub, err := hubemulator.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	return hub
}

// startController runs the controller in a namespace of the test's own until
// the test ends.
func startController(t *testing.T, cluster *rest.Config, hub *hubemulator.Server) (client.Client, string) {
	t.Helper()
	kube, err := client.New(cluster, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := kube.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	manager, err := ctrl.NewManager(cluster, ctrl.Options{
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{namespace.Name: {}}},
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, // there are several at once
	})
	if err != nil {
		t.Fatal(err)
	}
	reconciler := &controller.Reconciler{Client: manager.GetClient(), Hub: hubClient(t, hub)}
	if err := reconciler.SetupWithManager(manager); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- manager.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return kube, namespace.Name
}

// hubClient signs in with a policy of the hub and trusts its certificate. On a
// real hub the connection string comes from a Secret, and the system's own
// certificates do.
func hubClient(t *testing.T, hub *hubemulator.Server) *controller.Hub {
	t.Helper()
	connectionString, err := hub.ServiceConnectionString("service")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(hub.CACertificatePEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &controller.Hub{ConnectionString: connectionString, HTTP: &http.Client{Transport: transport}}
}

func configMap(namespace string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings", Labels: labels}}
}

// location returns a function, for Eventually, that looks at a device's tag.
func location(t *testing.T, hub *hubemulator.Server, deviceID string) func() any {
	t.Helper()
	return func() any { return tags(t, hub, deviceID)["location"] }
}

func tags(t *testing.T, hub *hubemulator.Server, deviceID string) map[string]any {
	t.Helper()
	text, err := hub.TwinJSON(deviceID)
	if err != nil {
		t.Fatal(err)
	}
	var twin struct {
		Tags map[string]any `json:"tags"`
	}
	if err := json.Unmarshal(text, &twin); err != nil {
		t.Fatal(err)
	}
	return twin.Tags
}
