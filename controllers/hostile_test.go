package controllers_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// TestAHostileHubGetsNoTokenElsewhere: a hub that sends its callers on does not get
// them, nor their tokens, to go there.
func TestAHostileHubGetsNoTokenElsewhere(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var elsewhere atomic.Int32
			host, _ := w.serve(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
			var from atomic.Value // the operation that is sent on: a method
			from.Store(http.MethodGet)
			var sent atomic.Int32
			tapped := w.tapWith(func(answer http.ResponseWriter, request *http.Request) bool {
				if request.Method != from.Load() {
					return true
				}
				sent.Add(1)
				http.Redirect(answer, request, "https://"+host+request.URL.RequestURI(), status)
				return false
			})
			conn := w.connectThrough(tapped.host, tapped.ca)
			ready := w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonHubError)
			w.Expect(ready.Message).To(ContainSubstring("redirect"))

			from.Store(http.MethodPatch)
			w.awaitReady(conn)
			obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
			w.create(obj)
			ready = w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubError)
			w.Expect(ready.Message).To(ContainSubstring("redirect"))
			w.Expect(sent.Load()).To(BeNumerically(">=", 2))
			w.Expect(elsewhere.Load()).To(BeZero())
			from.Store("")
			w.awaitReady(obj)
		})
	}
}

// TestAServerOfAnotherCAGetsNoToken: the handshake ends before a request is sent.
func TestAServerOfAnotherCAGetsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int32
	host, _ := w.serve(func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	conn := w.connectThrough(host, w.hub.CACertificatePEM())
	w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonUntrustedCertificate)
	w.Expect(asked.Load()).To(BeZero())
}

// TestAHostThatIsNotAllowedIsNotCalled: not even a connection is made to it.
func TestAHostThatIsNotAllowedIsNotCalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// All of 127.0.0.0/8 is this machine; the test's managers may go to 127.0.0.1.
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = listener.Close() })
	called := make(chan struct{}, 64)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.Close()
			called <- struct{}{}
		}
	}()
	conn := w.connectThrough(listener.Addr().String(), w.hub.CACertificatePEM())
	refused := w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
	w.Expect(refused.Message).To(ContainSubstring("--allowed-host-suffixes"))
	identity := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "identity"}}
	identity.Spec.HostName = listener.Addr().String()
	identity.Spec.Auth.WorkloadIdentity = &v1alpha1.WorkloadIdentity{ClientID: application, TenantID: application, ServiceAccountName: "twins"}
	w.create(identity)
	w.await(identity, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
	w.Consistently(called, "500ms").ShouldNot(Receive())
	for _, r := range w.requests() {
		w.Expect(r.ObjectRef.Resource).NotTo(Equal("serviceaccounts"), "a token was asked for")
	}
}

// tellings is all that a namespace is told: conditions, status and events.
func (w *world) tellings(namespace string, objects ...kstatus.Object) string {
	w.Helper()
	var told []string
	for _, obj := range objects {
		switch obj := obj.(type) {
		case *v1alpha1.DeviceTwin:
			told = append(told, fmt.Sprintf("%+v", obj.Status))
		case *v1alpha1.TwinQuery:
			told = append(told, fmt.Sprintf("%+v", obj.Status))
		}
	}
	return strings.Join(append(told, w.eventsIn(namespace)...), "\n")
}

// TestANamespaceThatIsNotAdmittedLearnsNothing: it is told the same of a hub that
// is there, of one that is out of order, and of one that is not.
func TestANamespaceThatIsNotAdmittedLearnsNothing(t *testing.T) {
	t.Parallel()
	stranger := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(stranger))
	w.createSecret("hub", w.credential("service"))
	conn := w.connection("hub")
	conn.Spec.ReadBack = v1alpha1.ReadBack{Interval: metav1.Duration{Duration: 24 * time.Hour}} // so that no query is its own
	w.create(conn)
	w.awaitReady(conn)
	w.anotherWriter("d1", map[string]any{"plant": "Redmond43"})
	broken := w.connection("broken") // there is no Secret of that name
	w.create(broken)
	w.await(broken, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	own := w.twin("own", "d1", `{"a":1}`, "")
	w.create(own)
	w.awaitReady(own)
	before := w.hubCalls()

	said := map[string]string{}
	for _, hub := range []string{"hub", "broken", "absent"} {
		obj := w.twin("t-"+hub, "d1", `{"a":2}`, "")
		obj.Namespace, obj.Spec.HubRef = stranger, v1alpha1.HubReference{Namespace: w.ns, Name: hub}
		query := w.query("q-"+hub, "tags.plant = 'Redmond43'")
		query.Namespace, query.Spec.HubRef = stranger, obj.Spec.HubRef
		w.create(obj)
		w.create(query)
		for _, one := range []kstatus.Object{obj, query} {
			refused := w.await(one, metav1.ConditionFalse, v1alpha1.ReasonHubNotAllowed)
			said[hub] += strings.ReplaceAll(refused.Message, w.ns+"/"+hub, "HUB") + "\n"
		}
		told := w.tellings(stranger, obj, query)
		for _, secret := range []string{w.hub.HostName(), "localhost", "Redmond43", v1alpha1.ReasonSecretNotFound, `"own"`} {
			w.Expect(told).NotTo(ContainSubstring(secret))
		}
		w.Expect(obj.Status.Target).To(BeEmpty())
		w.Expect(query.Status.Count).To(BeNil())
	}
	w.Expect(said["broken"]).To(Equal(said["hub"]))
	w.Expect(said["absent"]).To(Equal(said["hub"]))
	w.visitTwin(own)
	w.Expect(w.calls("query")).To(BeZero())
	w.Expect(w.calls("updateTwin")).To(Equal(2), "that of another writer and the own one")
	w.Expect(before).To(BeNumerically(">", 0))
}

// TestAQueryIsNoWindow: no condition finds devices beyond the namespace's scope,
// however it is spelled.
func TestAQueryIsNoWindow(t *testing.T) {
	t.Parallel()
	tenant := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(tenant))
	for _, device := range []string{"mine-a", "mine-b", "theirs-a", "Mine-c"} {
		_, err := w.hub.AddDevice(device)
		w.Expect(err).NotTo(HaveOccurred())
	}
	_, err := w.hub.AddModule("theirs-a", "mine-m")
	w.Expect(err).NotTo(HaveOccurred())
	_, err = w.hub.AddModule("mine-a", "m")
	w.Expect(err).NotTo(HaveOccurred())
	conn := w.connect()
	w.edit(conn, func() {
		conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
		conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: tenant, DeviceIDPrefix: "mine-"}}
	})
	w.awaitReady(conn)
	all := []string{"mine-a", "mine-b"}
	for i, tt := range []struct {
		where, from string
		finds       []string // nil where the text is refused
	}{
		{where: "true", finds: all},
		{where: "deviceId = 'theirs-a' OR true", finds: all},
		{where: "NOT STARTSWITH(deviceId, 'mine-')", finds: []string{}},
		{where: "NOT (STARTSWITH(deviceId, 'mine-') AND false)", finds: all},
		{where: "deviceId IN ['theirs-a', 'mine-b', 'Mine-c', 'd1']", finds: []string{"mine-b"}},
		{where: "true) OR (true"},
		{where: "true -- "},
		{where: "true; SELECT * FROM devices"},
		{where: "true", from: "devices.modules", finds: []string{"mine-a/m"}},
		{where: "moduleId = 'mine-m' OR STARTSWITH(moduleId, 'mine-')", from: "devices.modules", finds: []string{}},
	} {
		query := w.query(fmt.Sprintf("q%d", i), tt.where)
		query.Namespace, query.Spec.HubRef.Namespace, query.Spec.From = tenant, w.ns, tt.from
		w.create(query)
		if tt.finds == nil {
			w.await(query, metav1.ConditionFalse, v1alpha1.ReasonInvalidQuery)
			continue
		}
		w.awaitReady(query)
		w.Expect(query.Status.Devices).To(HaveExactElements(tt.finds), tt.where)
		w.Expect(*query.Status.Count).To(BeEquivalentTo(len(tt.finds)), tt.where)
		w.Expect(w.tellings(tenant, query)).NotTo(ContainSubstring("theirs"), tt.where)
	}
}

// TestSecretsAreReadInTheirOwnNamespaceOnly: the API server's audit log shows no
// other Secret read than those that HubConnections name beside them.
func TestSecretsAreReadInTheirOwnNamespaceOnly(t *testing.T) {
	t.Parallel()
	tenant := testenv.Namespace(t, newClient(t), nil)
	w := newWorld(t, withNamespace(tenant))
	conn := w.connect()
	w.edit(conn, func() { conn.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll })
	w.createSecret("another", w.credential("iothubowner"))
	theirs := w.connection("theirs") // names what is a Secret of the neighbour's only
	theirs.Namespace, theirs.Spec.Auth.ConnectionStringSecretRef.Name = tenant, "another"
	w.create(theirs)
	obj := w.twin("t1", "d1", `{"a":1}`, "")
	obj.Namespace, obj.Spec.HubRef.Namespace = tenant, w.ns
	w.create(obj)
	w.awaitReady(obj)
	missing := w.await(theirs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	w.Expect(missing.Message).To(ContainSubstring(fmt.Sprintf("does not exist in namespace %q", tenant)))
	w.awaitReadBacks(2)

	read := map[string]bool{}
	for _, r := range w.requests() {
		if r.ObjectRef.Resource != "secrets" {
			continue
		}
		name := r.ObjectRef.Name
		if r.Verb == "list" || r.Verb == "watch" {
			w.Expect(r.RequestURI).To(ContainSubstring("fieldSelector=metadata.name%3D"), "one Secret at a time")
			_, name, _ = strings.Cut(r.RequestURI, "fieldSelector=metadata.name%3D")
			name, _, _ = strings.Cut(name, "&")
		}
		read[r.ObjectRef.Namespace+"/"+name] = true
	}
	w.Expect(read).To(Equal(map[string]bool{w.ns + "/hub": true, tenant + "/another": true}))
}
