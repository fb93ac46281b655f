package controllers_test

import (
	"context"
	"net"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

const (
	classicName = "contoso.azure-devices.net"
	serviceName = "contoso.service.azure-devices.net"
	deviceName  = "contoso.device.azure-devices.net"
)

// withThreeNames gives the hub the names of one with the second gateway.
func withThreeNames() setting {
	return func(w *world) {
		w.hubOptions.Hostname = classicName
		w.options.Sessions = hub.NewPool(hub.PoolOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.hub.DialContext(ctx, network, address)
		}})
	}
}

// called returns a connection string that gives the hub another name.
func called(connectionString, name string) string {
	return strings.Replace(connectionString, classicName, name, 1)
}

// through declares the hub by one of its names.
func (w *world) through(conn, policy, name string) *v1alpha1.HubConnection {
	w.Helper()
	w.createSecret(conn, called(w.credential(policy), name))
	declared := w.connection(conn)
	w.create(declared)
	w.awaitReady(declared)
	return declared
}

// TestAHubIsOneUnderEachOfItsNames: one claim, one name in statuses, and no write when the
// credential is exchanged for one with another name.
func TestAHubIsOneUnderEachOfItsNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withThreeNames())
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	w.create(conn)
	w.awaitReady(conn)
	known := conn.Status.HostName
	w.Expect(known).To(HavePrefix(classicName))
	w.Expect(conn.Status.Endpoint).To(BeEmpty())
	for name, conn := range map[string]*v1alpha1.HubConnection{
		"service": w.through("service", "service", serviceName), "device": w.through("device", "service", deviceName),
	} {
		w.Expect(conn.Status.HostName).To(Equal(known), name)
		w.Expect(conn.Status.Endpoint).To(HavePrefix(serviceName), name)
	}
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	rival := w.twin("t2", "d1", `{"plant":"Elsewhere"}`, "")
	rival.Spec.HubRef.Name = "service"
	w.create(rival)
	w.await(rival, metav1.ConditionFalse, v1alpha1.ReasonDeviceClaimed)

	before, updates := obj.DeepCopy(), w.calls("updateTwin")
	w.exchangeName("hub", deviceName)
	w.Eventually(func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(conn), conn)).To(Succeed())
		return conn.Status.Endpoint
	}, patience).Should(HavePrefix(serviceName))
	w.awaitReady(conn)
	w.visitTwin(obj)
	w.awaitReadBacks(3)
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	w.Expect(w.calls("updateTwin")).To(Equal(updates), "no PATCH")
	w.Expect(obj.Status.Record).To(Equal(before.Status.Record))
	w.Expect(obj.Status.Target).To(Equal(before.Status.Target))
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"line":7}`) })
	w.Eventually(func() string { return w.tags("d1") }, patience).Should(Equal(`{"line":7}`), "what was written before is ours")
}

// exchangeName gives a HubConnection's credential another name of the hub.
func (w *world) exchangeName(secret, name string) {
	w.Helper()
	held := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: secret}}
	w.edit(held, func() { held.Data["connectionString"] = []byte(called(w.credential("service"), name)) })
}

// TestWhatWasRecordedUnderAnotherNameStaysOurs: an earlier version recorded the name that
// the credential gave.
func TestWhatWasRecordedUnderAnotherNameStaysOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withThreeNames())
	w.through("hub", "iothubowner", serviceName)
	obj := w.twin("t1", "new-1", `{"plant":"Redmond43","line":7}`, "")
	obj.Spec.Registration, obj.Spec.DeletionPolicy = v1alpha1.RegistrationCreate, v1alpha1.DeletionDelete
	w.create(obj)
	w.awaitReady(obj)
	w.stop()
	w.setStatus(obj, func() {
		record, err := twin.DecodeRecord(obj.Status.Record)
		w.Expect(err).NotTo(HaveOccurred())
		record.Target.Host = strings.Replace(record.Target.Host, classicName, serviceName, 1)
		obj.Status.Record, err = record.Encode()
		w.Expect(err).NotTo(HaveOccurred())
		obj.Status.Target = strings.Replace(obj.Status.Target, classicName, serviceName, 1)
		obj.Status.Registration.Target = obj.Status.Target
	})
	w.startManager()
	w.edit(obj, func() { obj.Spec.Tags = raw(`{"plant":"Redmond43"}`) })
	w.Eventually(func() string { return w.tags("new-1") }, patience).Should(Equal(`{"plant":"Redmond43"}`))
	w.awaitReady(obj)
	w.Expect(obj.Status.Target).To(HavePrefix(classicName))
	w.delete(obj)
	w.Eventually(func() error { _, err := w.hub.TwinJSON("new-1"); return err }, patience).Should(HaveOccurred(), "the device was ours to delete")
}
