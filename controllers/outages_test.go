package controllers_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// failures are how something between the manager and a hub fails, as the answer to every
// request, and what a HubConnection says of it: at its first look, and when it worked.
// refusal tells that a hub that worked is lost to it.
var failures = map[string]struct {
	answer        http.HandlerFunc
	reason        string
	first, worked string
	refusal       bool
}{
	"the credential is refused":   {failing(401, "IotHubUnauthorizedAccess"), v1alpha1.ReasonUnauthorized, v1alpha1.ConditionStalled, v1alpha1.ConditionStalled, true},
	"the hub's rules are against": {failing(403, "OperationNotAvailableInCurrentTier"), v1alpha1.ReasonForbidden, v1alpha1.ConditionStalled, v1alpha1.ConditionStalled, true},
	"a proxy says 401":            {failing(401, ""), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"a proxy says 403":            {failing(403, ""), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"a page with 404":             {failing(404, ""), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"a redirect":                  {failing(302, ""), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"a page with 200":             {failing(200, ""), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"the day's quota is used up":  {failing(403, "IotHubQuotaExceeded"), v1alpha1.ReasonQuotaExceeded, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"a request times out":         {failing(408, ""), v1alpha1.ReasonHubUnreachable, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"the hub throttles":           {failing(429, "ThrottlingBacklogTimeout"), v1alpha1.ReasonThrottled, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"the hub fails":               {failing(500, "ServerError"), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"the hub is not available":    {failing(503, "ServiceUnavailable"), v1alpha1.ReasonHubError, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
	"connections break":           {broken, v1alpha1.ReasonHubUnreachable, v1alpha1.ConditionReconciling, v1alpha1.ConditionReconciling, false},
}

// failing answers with a status, and as IoT Hub does where there is a code.
func failing(status int, code string) http.HandlerFunc {
	return func(answer http.ResponseWriter, _ *http.Request) {
		if status == http.StatusFound {
			answer.Header().Set("Location", "https://elsewhere.invalid/")
		}
		if code == "" {
			answer.WriteHeader(status)
			fmt.Fprint(answer, "<html><body>not a hub</body></html>")
			return
		}
		answer.Header().Set("iothub-errorcode", code)
		answer.WriteHeader(status)
		fmt.Fprintf(answer, `{"Message":"ErrorCode:%s;x","ExceptionMessage":""}`, code)
	}
}

func broken(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// afflicted is a world whose hub can be made to fail.
type afflicted struct {
	*world
	fails atomic.Bool
	conn  *v1alpha1.HubConnection
	fleet []*v1alpha1.DeviceTwin
	// reads counts the twins of the fleet that were read one by one.
	reads atomic.Int32
}

// afflict starts with a hub that fails by a handler.
func afflict(t *testing.T, by http.HandlerFunc) *afflicted {
	t.Helper()
	a := &afflicted{world: newWorld(t, func(w *world) {
		w.hubOptions.Devices = []string{"d1", "d2", "d3"}
		w.options.ProbeInterval = time.Second // a hub without messages is not read back
	})}
	a.fails.Store(true)
	tapped := a.tapWith(func(answer http.ResponseWriter, request *http.Request) bool {
		if request.Method == http.MethodGet && strings.HasPrefix(request.URL.Path, "/twins/d") && !strings.Contains(request.URL.Path, "probe") {
			a.reads.Add(1)
		}
		if a.fails.Load() {
			by(answer, request)
			return false
		}
		return true
	})
	a.conn = a.connectThrough(tapped.host, tapped.ca)
	for _, device := range a.hubOptions.Devices {
		obj := a.twin("t-"+device, device, `{"plant":"Redmond43"}`, "")
		a.create(obj)
		a.fleet = append(a.fleet, obj)
	}
	return a
}

// says waits for what the HubConnection says.
func (a *afflicted) says(reason, condition string) {
	a.Helper()
	a.Eventually(func() bool {
		ready := a.condition(a.conn, v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == reason && meta.IsStatusConditionTrue(a.conn.Status.Conditions, condition)
	}, patience, "20ms").Should(BeTrue(), func() string { return fmt.Sprint(a.conn.Status.Conditions) })
	a.Expect(kstatus.Check(a.conn)).To(Succeed())
}

// mend ends the failure, and has the HubConnection looked at: some are not for minutes.
func (a *afflicted) mend() {
	a.Helper()
	a.fails.Store(false)
	a.Eventually(func() metav1.ConditionStatus {
		a.reconcileNow(a.conn, func() string { return a.conn.Status.LastHandledReconcileAt })
		return a.condition(a.conn, v1alpha1.ConditionReady).Status
	}, patience, "1s").Should(Equal(metav1.ConditionTrue))
}

func (a *afflicted) versions() (out []string) {
	a.Helper()
	for _, obj := range a.fleet {
		a.Expect(a.client.Get(a.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		out = append(out, obj.ResourceVersion)
	}
	return out
}

// TestAFleetInAnOutage: what fails takes the hub away from a fleet only when the
// credential is refused, and else costs it no write and no read.
func TestAFleetInAnOutage(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := afflict(t, tt.answer)
			a.says(tt.reason, tt.first)
			for _, obj := range a.fleet {
				a.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady)
			}
			a.mend()
			for _, obj := range a.fleet {
				a.awaitReady(obj)
			}

			before, reads := a.versions(), a.reads.Load()
			a.fails.Store(true)
			a.says(tt.reason, v1alpha1.ConditionReconciling)
			a.Expect(a.versions()).To(Equal(before), "the first failure tells nothing")
			a.says(tt.reason, tt.worked)
			if tt.refusal {
				for _, obj := range a.fleet {
					a.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady)
				}
				a.mend()
				for _, obj := range a.fleet {
					a.awaitReady(obj)
				}
				return
			}
			a.stop() // a manager that starts in the middle of it is no other
			a.startManager()
			a.edit(a.fleet[0], func() { a.fleet[0].Spec.Tags = raw(`{"plant":"Redmond44"}`) })
			if tt.reason != v1alpha1.ReasonThrottled { // else it is parked
				a.await(a.fleet[0], metav1.ConditionFalse, tt.reason)
			}
			a.mend()
			a.edit(a.fleet[0], func() { a.fleet[0].Spec.Tags = raw(`{"plant":"Redmond45"}`) })
			a.awaitReady(a.fleet[0])
			a.Expect(a.versions()[1:]).To(Equal(before[1:]), "what is in step is not written")
			a.Expect(a.reads.Load()-reads).To(BeNumerically("<=", 8), "nor read, but for the one that was edited")
			a.checkConditions()
		})
	}
}
