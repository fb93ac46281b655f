package controllers_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// noting is a way to the API server on which something happens once, right after the note
// of a registration was written.
type noting struct {
	http.RoundTripper
	once *sync.Once
	then func()
}

func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch || !strings.HasSuffix(r.URL.Path, "/status") {
		return n.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := n.RoundTripper.RoundTrip(r)
	if bytes.Contains(body, []byte(`"credentials"`)) {
		n.once.Do(n.then)
	}
	return answer, err
}

// TestASecretThatArrivesLate, sent by the manager before this one, holds the keys that the
// device gets.
func TestASecretThatArrivesLate(t *testing.T) {
	t.Parallel()
	late := make(chan func(), 1)
	w := newWorld(t, withPolicy("iothubowner"), func(w *world) {
		w.wire = func(next http.RoundTripper) http.RoundTripper {
			return noting{next, &sync.Once{}, func() { (<-late)() }}
		}
	})
	conn := w.connect()
	w.awaitReady(conn)
	obj := w.registering("new-1")
	obj.Spec.Suspend = true
	w.create(obj)
	w.await(obj, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	primary, secondary := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)), base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
	sum := sha256.Sum256([]byte("sas\n" + primary + "\n" + secondary + "\n\n"))
	w.setStatus(obj, func() {
		obj.Status.Registration = &v1alpha1.RegistrationRecord{
			Target: conn.Status.HostName + "/new-1", UID: string(obj.UID), Credentials: []string{hex.EncodeToString(sum[:])},
		}
	})
	// What the manager's requests call works on copies: the test reads the object meanwhile.
	owner, host := obj.DeepCopy(), conn.Status.HostName
	late <- func() {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "device-connection"},
			StringData: map[string]string{"primaryKey": primary, "secondaryKey": secondary, "connectionString": "HostName=" + host},
		}
		w.Expect(controllerutil.SetControllerReference(owner, secret, suite.scheme)).To(Succeed())
		w.create(secret)
	}
	w.edit(obj, func() { obj.Spec.Suspend = false })
	w.awaitReady(obj)
	direct, err := w.hub.DeviceConnectionString("new-1")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(direct).To(HaveSuffix("SharedAccessKey=" + string(w.connectionSecret().Data["primaryKey"])))
	w.Expect(direct).To(HaveSuffix(primary))
}
