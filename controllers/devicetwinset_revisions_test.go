package controllers_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/revisions"
)

// unsaid is a way to the API server on which no status arrives, while it is cut, that says of a set that a revision
// is complete.
type unsaid struct {
	http.RoundTripper
	cut, refused *atomic.Int64
}

func (u unsaid) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/devicetwinsets/") || u.cut.Load() == 0 {
		return u.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(body, []byte("/status/stableRevision")) {
		u.refused.Add(1)
		return nil, errors.New("connection refused")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return u.RoundTripper.RoundTrip(r)
}

// kept are the revisions of a set that are there.
func (w *world) kept(set *v1alpha1.DeviceTwinSet) (names []string) {
	w.Helper()
	var list appsv1.ControllerRevisionList
	w.Expect(w.client.List(w.Context(), &list, client.InNamespace(w.ns), client.MatchingLabels{revisions.SetLabel: set.Name})).To(Succeed())
	for _, one := range list.Items {
		names = append(names, one.Labels[revisions.RevisionLabel])
	}
	return names
}

// TestTheRevisionBeforeStaysUntilTheStatusIsStored: until then the status names it, and another manager would take
// devices back to it, or bring it to those that join.
func TestTheRevisionBeforeStaysUntilTheStatusIsStored(t *testing.T) {
	t.Parallel()
	var cut, refused atomic.Int64
	w, devices := line(t, 4, accepts, 0, func(w *world) {
		w.wire = func(next http.RoundTripper) http.RoundTripper { return unsaid{next, &cut, &refused} }
	})
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	set.Spec.RevisionHistoryLimit = ptr.To[int32](0)
	w.create(set)
	w.awaitReady(set)
	first := set.Status.Revision
	cut.Store(1)
	w.edit(set, func() { set.Spec.Template.Tags = raw(`{"ring":"next"}`) })
	w.Eventually(func() []string { return w.holding(set, first, devices) }, patience, "20ms").Should(BeEmpty())
	w.Eventually(refused.Load, patience, "20ms").Should(BeNumerically(">", 5), "it is tried again and again")
	w.Expect(w.kept(set)).To(ContainElement(first))
	cut.Store(0)
	w.awaitReady(set)
	w.Eventually(func() []string { return w.kept(set) }, patience, "20ms").Should(Equal([]string{set.Status.Revision}))
}

// TestARevisionThatIsLostHoldsUpNoRollout: a device that joins gets the next one in its wave.
func TestARevisionThatIsLostHoldsUpNoRollout(t *testing.T) {
	t.Parallel()
	w, devices := line(t, 6, accepts, 0)
	w.tag("canary", true, devices[0])
	w.tag("plant", "44", devices[5])
	set := w.set("line-3", plant43, `{"ring":"stable"}`, "")
	set.Spec.Rollout.Joiners = v1alpha1.JoinersAtOnce
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Where: "tags.canary = true", Then: v1alpha1.AfterWaveApprove}}
	w.create(set)
	w.approveAll(set)
	w.awaitReady(set)
	first := set.Status.Revision
	w.edit(set, func() { set.Spec.Template.Tags = raw(`{"ring":"next"}`) })
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	w.Expect(w.client.DeleteAllOf(w.Context(), &appsv1.ControllerRevision{}, client.InNamespace(w.ns), client.MatchingLabels{revisions.RevisionLabel: first})).To(Succeed())
	w.stop()
	w.startManager()
	w.tag("plant", "43", devices[5])
	w.approveAll(set)
	w.awaitReady(set)
	w.Expect(w.holding(set, set.Status.Revision, devices)).To(Equal(devices))
}

// approveAll approves the canaries of the revision that a set is at, once they are written.
func (w *world) approveAll(set *v1alpha1.DeviceTwinSet) {
	w.Helper()
	w.await(set, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	w.annotateSet(set, v1alpha1.ApproveAnnotation, set.Status.Revision+"/"+set.Status.Wave)
}
