// Package e2e_test plays the tutorial's story in one process: a real API server,
// the controllers, the hub emulator, and a device that speaks MQTT.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/devicesim"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	samples  = "../../config/samples/tutorial/"
	device   = "thermostat-1"
	patience = 60 * time.Second
)

var env *testenv.Env

func TestMain(m *testing.M) {
	log.SetLogger(zap.New(zap.UseDevMode(true)))
	os.Exit(testenv.Run(m, testenv.Options{}, func(e *testenv.Env) { env = e }))
}

// story is what the steps share.
type story struct {
	WithT
	t      *testing.T
	client client.Client
	hub    *hubemulator.Server
	ns     string
	twin   *v1alpha1.DeviceTwin
	// output is what the device printed.
	output *gbytes.Buffer
}

func TestTheTutorial(t *testing.T) {
	s := start(t)
	s.apply()
	s.pushed()
	s.deviceReports()
	s.driftIsCorrected()
	s.editReachesTheDevice()
	s.removalReachesTheHub()
}

func start(t *testing.T) *story {
	t.Helper()
	s := &story{WithT: *NewWithT(t), t: t, output: gbytes.NewBuffer()}
	scheme := runtime.NewScheme()
	s.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	s.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	var err error
	s.client, err = client.New(env.Config(), client.Options{Scheme: scheme})
	s.Expect(err).NotTo(HaveOccurred())
	s.ns = testenv.Namespace(t, s.client, nil)
	s.hub, err = hubemulator.Start(context.Background(), hubemulator.Options{Devices: []string{device}})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { s.Expect(s.hub.Close()).To(Succeed()) })

	mgr, err := ctrl.NewManager(env.Config(), ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{s.ns: {}}},
		// Go repeats tests in one process, where a name is taken for good.
		Controller: config.Controller{SkipNameValidation: ptr.To(true), RecoverPanic: ptr.To(false)},
	})
	s.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	s.Expect(controllers.Setup(ctx, mgr, controllers.Options{
		AllowedHostSuffixes: []string{"localhost"},
	})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		s.Expect(<-ended).To(Succeed())
	})
	return s
}

// apply creates the tutorial's objects from the samples, as they are but for the
// emulator's certificate and shorter intervals.
func (s *story) apply() {
	connection, err := s.hub.ServiceConnectionString("service")
	s.Expect(err).NotTo(HaveOccurred())
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hub-connection"},
		StringData: map[string]string{"connectionString": connection},
	})
	conn := &v1alpha1.HubConnection{}
	s.read("hubconnection.yaml", conn)
	conn.Spec.CABundle = s.hub.CACertificatePEM()
	conn.Spec.ReadBack.Interval.Duration = time.Second
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}
	s.create(conn)
	text, err := os.ReadFile(samples + "twinqueries.yaml")
	s.Expect(err).NotTo(HaveOccurred())
	for _, part := range bytes.Split(text, []byte("\n---\n")) {
		query := &v1alpha1.TwinQuery{}
		s.Expect(yaml.UnmarshalStrict(part, query)).To(Succeed())
		query.Spec.Interval.Duration = 5 * time.Second
		s.create(query)
	}
	s.twin = &v1alpha1.DeviceTwin{}
	s.read("devicetwin.yaml", s.twin)
	s.create(s.twin)
}

func (s *story) read(file string, into client.Object) {
	text, err := os.ReadFile(samples + file)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(yaml.UnmarshalStrict(text, into)).To(Succeed())
}

func (s *story) create(obj client.Object) {
	obj.SetNamespace(s.ns)
	s.Expect(s.client.Create(s.t.Context(), obj)).To(Succeed())
}

// held is what the hub holds at a path of the twin, as JSON.
func (s *story) held(path ...string) func() string {
	return func() string {
		text, err := s.hub.TwinJSON(device)
		s.Expect(err).NotTo(HaveOccurred())
		var value any
		s.Expect(json.Unmarshal(text, &value)).To(Succeed())
		for _, key := range path {
			object, _ := value.(map[string]any)
			value = object[key]
		}
		text, err = json.Marshal(value)
		s.Expect(err).NotTo(HaveOccurred())
		return string(text)
	}
}

func (s *story) status() v1alpha1.DeviceTwinStatus {
	s.Expect(s.client.Get(s.t.Context(), client.ObjectKeyFromObject(s.twin), s.twin)).To(Succeed())
	return s.twin.Status
}

func (s *story) pushed() {
	s.Eventually(s.held("tags", "location"), patience).Should(Equal(`{"plant":"Redmond43","region":"US"}`))
	s.Eventually(s.held("properties", "desired", "power_level"), patience).Should(Equal("1"))
	s.Expect(s.held("etag")()).To(Equal(`"AAAAAAAAAAI="`))
	s.Eventually(s.status, patience).Should(HaveField("Memberships", ConsistOf("redmond43")))
}

func (s *story) deviceReports() {
	connection, err := s.hub.DeviceConnectionString(device)
	s.Expect(err).NotTo(HaveOccurred())
	sim, err := devicesim.New(devicesim.Options{
		ConnectionString: connection, CA: s.hub.CACertificatePEM(), MQTTAddress: s.hub.MQTTAddress(),
		Connectivity: "cellular", Output: s.output,
	})
	s.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		s.Expect(<-ended).To(Succeed())
	})
	s.Eventually(s.output.Contents, patience).Should(ContainSubstring("desired power_level: 1 "))
	s.Eventually(s.status, patience).Should(And(
		HaveField("Connectivity", "cellular"),
		HaveField("Connection.State", v1alpha1.Connected),
		HaveField("Memberships", ConsistOf("redmond43", "redmond43-cellular")),
	))
}

func (s *story) driftIsCorrected() {
	owner, err := s.hub.ServiceConnectionString("iothubowner")
	s.Expect(err).NotTo(HaveOccurred())
	session, err := hub.Open(hub.Config{
		ConnectionString: owner, CABundle: s.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	})
	s.Expect(err).NotTo(HaveOccurred())
	twin, err := session.GetTwin(s.t.Context(), hub.ID{Device: device})
	s.Expect(err).NotTo(HaveOccurred())
	_, err = session.PatchTwin(s.t.Context(), hub.ID{Device: device}, twin.ETag, hub.Patch{Tags: map[string]any{
		"location": map[string]any{"plant": "Elsewhere"}, "theirs": true,
	}})
	s.Expect(err).NotTo(HaveOccurred())
	s.Eventually(s.held("tags"), patience).Should(Equal(`{"location":{"plant":"Redmond43","region":"US"},"theirs":true}`))
}

func (s *story) editReachesTheDevice() {
	s.edit(func(spec *v1alpha1.DeviceTwinSpec) { spec.Desired.Raw = []byte(`{"power_level":2}`) })
	s.Eventually(s.output.Contents, patience).Should(ContainSubstring("desired power_level: 2 "))
	s.Eventually(s.held("properties", "reported", "power_level"), patience).Should(Equal("2"))
}

func (s *story) removalReachesTheHub() {
	s.edit(func(spec *v1alpha1.DeviceTwinSpec) { spec.Tags.Raw = []byte(`{"location":{"plant":"Redmond43"}}`) })
	s.Eventually(s.held("tags"), patience).Should(Equal(`{"location":{"plant":"Redmond43"},"theirs":true}`))
}

func (s *story) edit(change func(*v1alpha1.DeviceTwinSpec)) {
	s.Eventually(func() error {
		s.Expect(s.client.Get(s.t.Context(), client.ObjectKeyFromObject(s.twin), s.twin)).To(Succeed())
		change(&s.twin.Spec)
		return s.client.Update(s.t.Context(), s.twin)
	}, patience).Should(Succeed())
}
