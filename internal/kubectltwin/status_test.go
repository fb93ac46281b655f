package kubectltwin_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// factory is a HubConnection that is used, with four twins.
func (w *world) factory() *v1alpha1.HubConnection {
	w.Helper()
	conn := hub("hub")
	conn.Spec.Guard = &v1alpha1.Guard{MaxChangesPerHour: 500}
	w.create(conn)
	conn.Status = v1alpha1.HubConnectionStatus{
		ObservedGeneration: conn.Generation, HostName: "factory.azure-devices.net",
		Conditions: []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "the hub answered an authenticated read")},
		HubUse: v1alpha1.HubUse{
			Backlog: 640, QuotaUsedPercent: 60, QuotaDay: "2026-11-20",
			EffectiveInterval: metav1.Duration{Duration: time.Minute}, EffectiveFullSweepInterval: metav1.Duration{Duration: time.Hour},
		},
	}
	w.Expect(w.client.Status().Update(w.Context(), conn)).To(Succeed())
	for name, conditions := range map[string][]metav1.Condition{
		"good":      inStep(),
		"lost-1":    failing(v1alpha1.ReasonDeviceNotFound, "the device is not registered"),
		"lost-2":    failing(v1alpha1.ReasonDeviceNotFound, "the device is not registered"),
		"untouched": nil,
	} {
		obj := twin(name)
		obj.Spec.Suspend = name == "good"
		w.create(obj)
		if conditions != nil {
			w.said(obj, v1alpha1.DeviceTwinStatus{Conditions: conditions})
		}
	}
	return conn
}

func TestStatusSumsUpAHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.factory()
	elsewhere := testenv.Namespace(t, w.client, nil)
	guest, namesake := twin("guest"), twin("namesake")
	guest.Namespace, guest.Spec.HubRef.Namespace, namesake.Namespace = elsewhere, w.ns, elsewhere
	w.create(guest)
	w.create(namesake)

	out := w.ok("status", "hub")
	w.Expect(out).To(HavePrefix("HubConnection " + w.ns + "/hub  factory.azure-devices.net\n"))
	w.Expect(lineOf(out, "in all")).To(Equal("5 in all, 1 ready, 1 suspended, 0 drifted, 0 contended"))
	w.Expect(lineOf(out, "DeviceNotFound")).To(Equal("False DeviceNotFound 2 lost-1, lost-2"))
	w.Expect(lineOf(out, "NotReconciled")).To(MatchRegexp(`^Unknown NotReconciled 2 (untouched, ` + elsewhere + `/guest|` + elsewhere + `/guest, untouched)$`))
	w.Expect(lineOf(out, "DeviceNotFound, such as")).To(Equal("DeviceNotFound, such as lost-1: the device is not registered"))
	w.Expect(lineOf(out, "Budget")).To(Equal("Budget 60% of the operator's share of the messages of 2026-11-20 (S1, 1 unit; 50% of the rates, 20% of the daily messages)"))
	w.Expect(lineOf(out, "Read back")).To(Equal("Read back every 1m0s, a full sweep every 1h0m0s; not late, so at most three times that old"))
	w.Expect(lineOf(out, "Backlog")).To(Equal("Backlog 640 wait"))
	w.Expect(lineOf(out, "Guard")).To(Equal("Guard 500 changed twins an hour"))
	w.Expect(lineOf(out, "ago")).To(HavePrefix("60m ago good Ready=True Succeeded"))
	w.Expect(w.run("status", "hub", "--exit-code").Code).To(Equal(cluster.ExitFound))

	var printed struct {
		Twins   struct{ Total, Ready int }
		Reasons []struct {
			Reason string
			Count  int
		}
	}
	w.Expect(json.Unmarshal([]byte(w.ok("status", "hub", "-o", "json")), &printed)).To(Succeed())
	w.Expect(printed.Twins.Total).To(Equal(5))
	w.Expect(printed.Reasons[0]).To(HaveField("Reason", "DeviceNotFound"))

	conn.Status.Guard = &v1alpha1.GuardStatus{TrippedAt: ptr.To(metav1.NewTime(time.Now().Add(-time.Hour))), Limit: 500, Waiting: 9500}
	conn.Status.ReadBackAsOf = ptr.To(metav1.NewTime(time.Now().Add(-10 * time.Minute)))
	conn.Status.Conditions = append(conn.Status.Conditions, condition(v1alpha1.ConditionReadBackLate, metav1.ConditionTrue, v1alpha1.ReasonReadBackBlocked, "late"))
	w.Expect(w.client.Status().Update(w.Context(), conn)).To(Succeed())
	out = w.ok("status", "hub")
	w.Expect(lineOf(out, "Guard")).To(Equal("Guard tripped 60m ago at 500 twins, 9500 wait: `kubectl twin approve hub -n " + w.ns + "` lets them go on"))
	w.Expect(lineOf(out, "Read back ")).To(Equal("Read back late: last complete 10m ago"))
}

func TestStatusOfWhoMayNotListAllNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.factory()
	w.Expect(w.refused("status", "missing")).To(ContainSubstring(`"missing" not found`))
	w.Expect(w.refused("status")).To(ContainSubstring("accepts 1 arg"))
	w.as("reader", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get", "list"}})
	out := w.ok("status", "hub")
	w.Expect(out).To(ContainSubstring("of namespace " + w.ns + " alone"))
	w.Expect(lineOf(out, "in all")).To(HavePrefix("4 in all"))
	w.as("stranger")
	w.Expect(w.refused("status", "hub")).To(ContainSubstring("cannot get resource"))
}

// TestStatusOfAFleet counts all pages, and logs the time: a second is the limit on a machine that does nothing else.
func TestStatusOfAFleet(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("3,000 objects take their time")
	}
	w := newWorld(t)
	w.create(hub("hub"))
	const fleet = 3000
	var group errgroup.Group
	group.SetLimit(16)
	for i := range fleet {
		group.Go(func() error {
			obj := twin("d" + strconv.Itoa(i))
			obj.Namespace = w.ns
			if err := w.client.Create(w.Context(), obj); err != nil {
				return err
			}
			obj.Status = v1alpha1.DeviceTwinStatus{
				ObservedGeneration: obj.Generation, ETag: "AAAAAAAAAAI=", Record: strings.Repeat("r", 300), Conditions: inStep(),
				Reported: raw(`{"connectivity":"cellular","firmware":"` + strings.Repeat("1.2.3 ", 100) + `"}`),
			}
			return w.client.Status().Update(w.Context(), obj)
		})
	}
	w.Expect(group.Wait()).To(Succeed())
	began := time.Now()
	out := w.ok("status", "hub")
	took := time.Since(began)
	w.Expect(lineOf(out, "in all")).To(HavePrefix(fmt.Sprintf("%d in all", fleet)))
	t.Logf("status of %d twins took %s", fleet, took)
}
