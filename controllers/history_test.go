package controllers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// told is the history of an object in short, newest first.
func (w *world) told(obj *v1alpha1.DeviceTwin) []string {
	w.Helper()
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	var out []string
	for _, entry := range obj.Status.History {
		leaves := []string{}
		for _, leaf := range entry.Changes {
			text, err := json.Marshal([]any{leaf.Before, leaf.After})
			w.Expect(err).NotTo(HaveOccurred())
			leaves = append(leaves, leaf.Path+string(text))
		}
		out = append(out, fmt.Sprintf("%d %s by %s: %s", entry.Generation, entry.Cause, entry.Manager, strings.Join(leaves, " ")))
	}
	return out
}

// createAs creates an object as a field manager.
func (w *world) createAs(manager string, obj *v1alpha1.DeviceTwin) {
	w.Helper()
	w.Expect(w.client.Create(w.Context(), obj, client.FieldOwner(manager))).To(Succeed())
}

// editAs edits tags as a field manager. Of two that edit within one second the API server notes no order: tests
// take them in that of their names, as it lists them.
func (w *world) editAs(manager string, obj *v1alpha1.DeviceTwin, tags string) {
	w.Helper()
	patch := client.RawPatch("application/json-patch+json", []byte(`[{"op":"replace","path":"/spec/tags","value":`+tags+`}]`))
	w.Expect(w.client.Patch(w.Context(), obj, patch, client.FieldOwner(manager))).To(Succeed())
}

// TestHistoryTellsEachWrite to the hub, with its cause and who declared it, for no more writes
// than without it.
func TestHistoryTellsEachWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"a":1,"b":1}`, "")
	w.createAs("alice", obj)
	w.awaitReady(obj)
	first := `1 Edit by alice: tags.a[null,1] tags.b[null,1]`
	w.Expect(w.told(obj)).To(Equal([]string{first}))

	before := len(w.writesOf(obj))
	w.editAs("bob", obj, `{"a":2,"wifi":{"pwd":"hunter2"}}`)
	w.awaitReady(obj)
	hidden := `["a value that looks like a credential"]`
	second := `2 Edit by bob: tags.a[1,2] tags.b[1,null] tags.wifi.pwd[null,` + strings.Trim(hidden, "[]") + `]`
	w.Expect(w.told(obj)).To(Equal([]string{second, first}))
	w.Expect(w.writesOf(obj)[before:]).To(HaveLen(2), "the record ahead of the hub, and the status")
	text, err := json.Marshal(obj.Status)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(string(text)).NotTo(ContainSubstring("hunter2"))

	w.anotherWriter("d1", map[string]any{"a": 9})
	drift := `2 Drift by bob: tags.a[9,2]`
	w.Eventually(func() []string { return w.told(obj) }, patience, "20ms").Should(Equal([]string{drift, second, first}))
	w.awaitReady(obj)
	newest, older := obj.Status.History[0], obj.Status.History[1]
	w.Expect(newest.ETagAfter).To(Equal(obj.Status.ETag))
	w.Expect(newest.ETagBefore).NotTo(Equal(older.ETagAfter), "another one wrote in between")
	w.Expect(older.ETagBefore).To(Equal(obj.Status.History[2].ETagAfter))
	w.Expect(newest.RequestID).NotTo(BeEmpty())
	w.Expect(newest.Time.Time).To(BeTemporally("~", time.Now(), patience))
	w.checkHistoryStays(obj)
}

// checkHistoryStays whatever else is written.
func (w *world) checkHistoryStays(obj *v1alpha1.DeviceTwin) {
	w.Helper()
	want := w.told(obj)
	w.report("d1", `{"fan":3}`)
	w.Eventually(func() any {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		return obj.Status.Reported
	}, patience, "20ms").ShouldNot(BeNil())
	w.Expect(w.told(obj)).To(Equal(want), "after a status write that has nothing to do with it")
	w.stop()
	w.startManager()
	w.visitTwin(obj)
	w.Expect(w.told(obj)).To(Equal(want), "after a restart")
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DeviceTwin", "metadata": map[string]any{"name": obj.Name}, "spec": obj.Spec,
	})
	w.Expect(err).NotTo(HaveOccurred())
	w.mustKubectl(string(manifest), "replace", "-f", "-")
	w.visitTwin(obj)
	w.Expect(w.told(obj)).To(Equal(want), "after kubectl replace with a manifest that does not have it")
	w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	w.editAs("carol", obj, `{"a":2}`)
	w.awaitReady(obj)
	w.Expect(w.told(obj)[1:]).To(Equal(want))
}

// TestHistoryEnds: it tells of the last ten writes.
func TestHistoryEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"a":0}`, "")
	w.createAs("alice", obj)
	for n := range 12 {
		w.awaitReady(obj)
		w.editAs("alice", obj, fmt.Sprintf(`{"a":%d}`, n+1))
	}
	w.awaitReady(obj)
	told := w.told(obj)
	w.Expect(told).To(HaveLen(10))
	w.Expect(told[0]).To(Equal("13 Edit by alice: tags.a[11,12]"))
	w.Expect(told[9]).To(Equal("4 Edit by alice: tags.a[2,3]"))
}

// TestHistoryTellsOfARegistration as such.
func TestHistoryTellsOfARegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	obj := w.registering("new")
	w.create(obj)
	w.awaitReady(obj)
	w.Expect(obj.Status.History).To(ConsistOf(HaveField("Cause", v1alpha1.WriteCauseRegistration)))
}

// flaky is a way to the API server on which one write of a DeviceTwin's status goes wrong: the next
// but so many.
type flaky struct {
	http.RoundTripper
	countdown *atomic.Int64
	// arrives tells that it is written, and just its answer is lost.
	arrives bool
}

func (f flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch || !strings.HasSuffix(r.URL.Path, "/status") || !strings.Contains(r.URL.Path, "/devicetwins/") || f.countdown.Add(-1) != 0 {
		return f.RoundTripper.RoundTrip(r)
	}
	if f.arrives {
		answer, err := f.RoundTripper.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		answer.Body.Close()
	}
	return nil, errors.New("connection reset")
}

// TestAWriteIsToldOnce, also where the status write fails that is to tell it, or its answer is lost.
func TestAWriteIsToldOnce(t *testing.T) {
	t.Parallel()
	for name, arrives := range map[string]bool{"the status write fails": false, "its answer is lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var countdown atomic.Int64
			w := newWorld(t, func(w *world) {
				w.wire = func(next http.RoundTripper) http.RoundTripper { return flaky{next, &countdown, arrives} }
			})
			w.connect()
			obj := w.twin("t1", "d1", `{"a":1}`, "")
			w.createAs("alice", obj)
			w.awaitReady(obj)
			countdown.Store(2) // the record goes ahead of the hub
			w.editAs("alice", obj, `{"a":2}`)
			w.awaitReady(obj)
			w.Expect(countdown.Load()).To(BeNumerically("<=", 0))
			w.visitTwin(obj)
			w.Expect(w.told(obj)).To(HaveLen(2))
			w.Expect(w.told(obj)[0]).To(Equal("2 Edit by alice: tags.a[1,2]"))
		})
	}
}
