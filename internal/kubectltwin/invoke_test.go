package kubectltwin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amenzhinsky/iothub/iotdevice"
	"github.com/amenzhinsky/iothub/iotdevice/transport/mqtt"
	"github.com/amenzhinsky/iothub/logger"
	paho "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// reached is a world with a hub, the HubConnection "hub" that leads there, and no manager: none is asked.
type reached struct {
	*world

	hub    *hubemulator.Server
	conn   *v1alpha1.HubConnection
	secret *corev1.Secret
	key    string
}

func newReached(t *testing.T) *reached {
	t.Helper()
	r := &reached{world: newWorld(t), conn: hub("hub")}
	var err error
	r.hub, err = hubemulator.Start(context.Background(), hubemulator.Options{Devices: []string{"d1"}})
	r.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { r.Expect(r.hub.Close()).To(Succeed()) })
	text, err := r.hub.ServiceConnectionString("service")
	r.Expect(err).NotTo(HaveOccurred())
	_, r.key, _ = strings.Cut(text, "SharedAccessKey=")
	r.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hub-secret"}, StringData: map[string]string{"connectionString": text}}
	r.create(r.secret)
	r.conn.Spec.CABundle = r.hub.CACertificatePEM()
	r.create(r.conn)
	r.create(twin("d1"))
	return r
}

// connect connects the device d1, which knows the methods reboot, refuse and fail.
func (r *reached) connect() {
	r.Helper()
	roots := x509.NewCertPool()
	r.Expect(roots.AppendCertsFromPEM(r.hub.CACertificatePEM())).To(BeTrue())
	text, err := r.hub.DeviceConnectionString("d1")
	r.Expect(err).NotTo(HaveOccurred())
	device, err := iotdevice.NewFromConnectionString(mqtt.New(mqtt.WithClientOptionsConfig(func(o *paho.ClientOptions) {
		o.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}
		o.Servers = nil
		o.AddBroker("tls://" + r.hub.MQTTAddress())
	})), text, iotdevice.WithLogger(logger.New(logger.LevelOff, nil)))
	r.Expect(err).NotTo(HaveOccurred())
	r.Cleanup(func() { r.Expect(device.Close()).To(Succeed()) })
	r.Expect(device.Connect(r.Context())).To(Succeed())
	for name, method := range map[string]iotdevice.DirectMethodHandler{
		"reboot": func(payload map[string]any) (int, map[string]any, error) {
			return 200, map[string]any{"got": payload}, nil
		},
		"refuse": func(map[string]any) (int, map[string]any, error) { return 409, map[string]any{"why": "busy"}, nil },
		"fail":   func(map[string]any) (int, map[string]any, error) { return 0, nil, errors.New("broken") },
	} {
		r.Expect(device.RegisterMethod(r.Context(), name, method)).To(Succeed())
	}
}

// keepsSecret checks that no output holds the hub's key.
func (r *reached) keepsSecret(got result) result {
	r.Helper()
	for _, part := range []string{r.key, strings.TrimRight(r.key, "="), plantedKey, "SharedAccessSignature", "SharedAccessKey=", "sig="} {
		r.Expect(got.Out + got.Err).NotTo(ContainSubstring(part))
	}
	return got
}

// inOneLine is how a command has to end that is refused.
func (r *reached) inOneLine(args ...string) string {
	r.Helper()
	got := r.keepsSecret(r.run(args...))
	r.Expect(got.Code).To(Equal(cluster.ExitError), got.Out+got.Err)
	r.Expect(got.Out).To(BeEmpty())
	r.Expect(got.Err).To(MatchRegexp(`^error: .*\n$`))
	return got.Err
}

func (r *reached) invoked() int64 { return r.hub.Counters().Operations["invokeMethod"].Calls }

// TestInvokeCallsTheDevice once, and ends as the device answers.
func TestInvokeCallsTheDevice(t *testing.T) {
	t.Parallel()
	r := newReached(t)
	r.connect()
	file := filepath.Join(t.TempDir(), "payload.json")
	r.Expect(os.WriteFile(file, []byte(`{ "delay": 5 }`), 0o600)).To(Succeed())
	for _, payload := range []string{`{"delay":5}`, "@" + file} {
		got := r.keepsSecret(r.run("invoke", "d1", "reboot", "--payload", payload))
		r.Expect(got).To(Equal(result{Out: "status: 200\npayload: {\n  \"got\": {\n    \"delay\": 5\n  }\n}\n"}))
	}
	got := r.keepsSecret(r.run("invoke", "devicetwin/d1", "refuse", "--payload", "{}", "-o", "json"))
	r.Expect(got.Code).To(Equal(cluster.ExitFound))
	r.Expect(got.Err).To(BeEmpty())
	r.Expect(got.Out).To(MatchJSON(`{"status":409,"payload":{"why":"busy"}}`))
	got = r.keepsSecret(r.run("invoke", "d1", "fail", "--payload", "{}", "-o", "yaml", "--timeout", "5s"))
	r.Expect(got.Code).To(Equal(cluster.ExitFound))
	r.Expect(got.Out).To(ContainSubstring("status: 500"))
	r.Expect(r.invoked()).To(BeEquivalentTo(4))
}

// TestInvokeReadsAPayloadFromStandardInput, as from a file.
func TestInvokeReadsAPayloadFromStandardInput(t *testing.T) {
	t.Parallel()
	r := newReached(t)
	r.connect()
	out := gbytes.NewBuffer()
	got := r.runOn(r.Context(), strings.NewReader(`{"delay":7}`), out, "invoke", "d1", "reboot", "--payload", "@-", "-ojson")
	r.Expect(got.Code).To(Equal(0), got.Err)
	r.Expect(got.Out).To(MatchJSON(`{"status":200,"payload":{"got":{"delay":7}}}`))
}

// TestInvokeRefuses what is malformed, before it asks anything.
func TestInvokeRefuses(t *testing.T) {
	t.Parallel()
	r := newReached(t)
	r.Expect(r.inOneLine("invoke", "d1")).To(ContainSubstring("accepts 2 arg(s)"))
	r.Expect(r.inOneLine("invoke", "d1", "m", "--payload", "{")).To(ContainSubstring("--payload: should be JSON"))
	r.Expect(r.inOneLine("invoke", "d1", "m", "--payload", "@/nowhere/x")).To(ContainSubstring("--payload: open /nowhere/x"))
	for _, timeout := range []string{"4s", "301s", "5500ms", "0"} {
		r.Expect(r.inOneLine("invoke", "d1", "m", "--timeout", timeout)).To(ContainSubstring("should be 5s to 5m, in whole seconds"))
	}
	r.Expect(r.inOneLine("invoke", "d1", "a/b")).To(ContainSubstring(`the method's name is "a/b"`))
	r.Expect(r.inOneLine("invoke", "nowhere", "m")).To(ContainSubstring(`devicetwins.iothub.devicetwin.io "nowhere" not found`))
	r.Expect(r.invoked()).To(BeZero())
}

// TestInvokeSaysWhyTheDeviceWasNotReached, in one line.
func TestInvokeSaysWhyTheDeviceWasNotReached(t *testing.T) {
	t.Parallel()
	r := newReached(t)
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(And(ContainSubstring("the device or module is not connected to the hub"), ContainSubstring("404 DeviceNotOnline")))
	lost := twin("absent")
	r.create(lost)
	r.Expect(r.inOneLine("invoke", "absent", "m")).To(ContainSubstring("the hub has no such device or module"))
	fault, err := r.hub.AddFault(hubemulator.Fault{Operation: "invokeMethod", Action: hubemulator.FaultDropAnswer})
	r.Expect(err).NotTo(HaveOccurred())
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring("whether the device was called is not known: look at it before you call again"))
	r.hub.RemoveFault(fault)
	r.Expect(r.invoked()).To(BeEquivalentTo(3), "each was sent once")

	r.Expect(r.hub.Close()).To(Succeed())
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(And(ContainSubstring("nothing accepts connections there"), ContainSubstring("nothing was called; try again")))
}

// TestInvokeSaysWhatItLacks of the way to the hub.
func TestInvokeSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	r := newReached(t)
	change := func(edit func()) {
		r.Helper()
		r.get(r.conn)
		edit()
		r.Expect(r.client.Update(r.Context(), r.conn)).To(Succeed())
	}
	put := func(text string) {
		r.Helper()
		r.secret.StringData = map[string]string{"connectionString": text}
		r.Expect(r.client.Update(r.Context(), r.secret)).To(Succeed())
	}
	put("HostName=" + r.hub.HostName() + ";SharedAccessKeyName=service;SharedAccessKey=" + plantedKey)
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring("the credential was refused"))
	put(plantedKey)
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring("the connection string cannot be used"))
	change(func() { r.conn.Spec.CABundle = nil })
	change(func() { r.conn.Spec.Auth.ConnectionStringSecretRef.Key = "other" })
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring(`has no key "other"`))
	change(func() { r.conn.Spec.Auth.ConnectionStringSecretRef.Name = "missing" })
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring(`secrets "missing" not found`))
	change(func() {
		r.conn.Spec.HostName = "factory.azure-devices.net"
		r.conn.Spec.Auth = v1alpha1.HubAuth{WorkloadIdentity: &v1alpha1.WorkloadIdentity{
			TenantID: "00000000-0000-0000-0000-000000000001", ClientID: "00000000-0000-0000-0000-000000000002", ServiceAccountName: "hub",
		}}
	})
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring("signs in by workload identity"))
	r.Expect(r.client.Delete(r.Context(), r.conn)).To(Succeed())
	r.Expect(r.inOneLine("invoke", "d1", "m")).To(ContainSubstring(`hubconnections.iothub.devicetwin.io "hub" not found`))
	r.Expect(r.hub.Counters().Operations["invokeMethod"].Statuses).To(Equal(map[string]int64{"401": 1}))
}

// TestInvokeTakesTheRightToReadTheSecret of the hub.
func TestInvokeTakesTheRightToReadTheSecret(t *testing.T) {
	t.Parallel()
	r := newReached(t)
	r.as("reader", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get"}})
	got := r.inOneLine("invoke", "d1", "m")
	r.Expect(got).To(And(ContainSubstring("Secret "+r.ns+"/hub-secret, which you may not read"), ContainSubstring("ask for the right to get it")))
	r.Expect(r.invoked()).To(BeZero())
}
