package controllers_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// lateWatch is a way to the API server on which the lists and watches of Secrets wait.
type lateWatch struct {
	http.RoundTripper
	until <-chan struct{}
}

func (l lateWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/secrets") {
		select {
		case <-l.until:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return l.RoundTripper.RoundTrip(r)
}

// TestASecretThatGoesBeforeItIsWatched is missed by no HubConnection that has read it.
func TestASecretThatGoesBeforeItIsWatched(t *testing.T) {
	t.Parallel()
	watched := make(chan struct{})
	w := newWorld(t, func(w *world) {
		w.wire = func(next http.RoundTripper) http.RoundTripper { return lateWatch{next, watched} }
	})
	conn := w.connect()
	w.awaitReady(conn)
	w.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "hub"}})
	close(watched)
	w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	w.createSecret("hub", w.credential("service"))
	w.awaitReady(conn)
	w.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "hub"}})
	w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
}
