package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/monitoring"
)

const (
	// fleetSize is more than the twins that have to drift within an hour for an alert.
	fleetSize = 25
	// troubledWorkers of each controller are few enough to be busy at once.
	troubledWorkers = 8
)

// TestPrometheusSeesATroubledFleet makes true, one after the other, the alerts that take more than a
// HubConnection which does not work, on a fleet where none of them holds before.
func TestPrometheusSeesATroubledFleet(t *testing.T) {
	t.Parallel()
	s := newScraped(t, devices(), "--workers", fmt.Sprint(troubledWorkers))
	s.declareFleet("hub", s.hub, func(*v1alpha1.HubConnection) {})
	s.Eventually(s.value(readyTwins), scrapePatience, "200ms").Should(Equal(fmt.Sprint(fleetSize)))
	// An increase takes a scrape from before it.
	s.Eventually(s.value(`count_over_time(devicetwin_left_behind_total[1m]) > 2`), scrapePatience, "200ms").ShouldNot(BeEmpty())
	s.Eventually(s.holds, scrapePatience, "200ms").Should(BeEmpty(), "a fleet that is well, but for workers that were all busy a moment ago")

	for _, trouble := range troubles() {
		trouble.happen(s)
		s.awaitAlert(trouble.alerts...)
	}
}

// trouble is what alerts tell of.
type trouble struct {
	happen func(*scraped)
	alerts []string
}

// troubles in an order in which none hides a later one.
func troubles() []trouble {
	return []trouble{
		{(*scraped).stallRollout, []string{"DeviceTwinRolloutFailed"}},
		{(*scraped).reject, []string{"DeviceTwinNotAcknowledged"}},
		{(*scraped).driftAll, []string{"DeviceTwinDriftStorm"}},
		{(*scraped).overrun, []string{"DeviceTwinBudgetNearlyUsed", "DeviceTwinThrottled"}},
		{(*scraped).relent, []string{"DeviceTwinEditsSlow", "DeviceTwinLeftBehind"}},
		{(*scraped).disagree, []string{"DeviceTwinMembershipsDisagree"}},
		{(*scraped).occupy, []string{"DeviceTwinReconcileStuck"}},
	}
}

// TestEachAlertIsMadeTrue on a scrape, by one of the tests here.
func TestEachAlertIsMadeTrue(t *testing.T) {
	t.Parallel()
	made := slices.Concat(hubTroubles(), hubOutage(), leaderGone())
	for _, trouble := range troubles() {
		made = append(made, trouble.alerts...)
	}
	var shipped []string
	for _, alert := range monitoring.Alerts(t) {
		shipped = append(shipped, alert.Name)
	}
	NewWithT(t).Expect(made).To(ConsistOf(shipped))
}

// awaitAlert waits until the expressions of alerts have held.
func (s *scraped) awaitAlert(names ...string) {
	s.Helper()
	held := map[string]bool{}
	s.Eventually(func() (missing []string) {
		for _, name := range s.holds() {
			held[name] = true
		}
		for _, name := range names {
			if !held[name] {
				missing = append(missing, name)
			}
		}
		return missing
	}, scrapePatience, "100ms").Should(BeEmpty())
}

// devices are the ids of a fleet.
func devices() (ids []string) {
	for i := range fleetSize {
		ids = append(ids, fmt.Sprintf("d%d", i+1))
	}
	return ids
}

// declareFleet declares a hub, and all devices of it.
func (s *scraped) declareFleet(name string, of *hubemulator.Server, change func(*v1alpha1.HubConnection)) {
	s.Helper()
	credential, err := of.ServiceConnectionString("service")
	s.Expect(err).NotTo(HaveOccurred())
	s.connect(name, credential, func(conn *v1alpha1.HubConnection) {
		conn.Spec.CABundle = of.CACertificatePEM()
		change(conn)
	})
	for _, device := range devices() {
		s.declareAs(name+"-"+device, name, device, `{"on":true}`)
	}
}

// stallRollout declares a set that selects more devices than it is meant to.
func (s *scraped) stallRollout() {
	s.Helper()
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: s.meta("too-many")}
	obj.Spec.HubRef.Name, obj.Spec.Selector.Where, obj.Spec.MaxDevices = "hub", "STARTSWITH(deviceId, 'd')", 1
	obj.Spec.Template.Tags = &runtime.RawExtension{Raw: []byte(`{"fleet":"a"}`)}
	s.Expect(s.client.Create(s.Context(), obj)).To(Succeed())
}

// reject has devices refuse what they are to hold, by the conventions of IoT Plug and Play.
func (s *scraped) reject() {
	s.Helper()
	for _, device := range devices()[:fleetSize/5] {
		text, err := s.hub.TwinJSON(device)
		s.Expect(err).NotTo(HaveOccurred())
		var twin struct {
			Properties struct{ Desired map[string]any }
		}
		s.Expect(json.Unmarshal(text, &twin)).To(Succeed())
		_, err = s.hub.Report(device, fmt.Appendf(nil, `{"on":{"value":true,"ac":400,"av":%v}}`, twin.Properties.Desired["$version"]))
		s.Expect(err).NotTo(HaveOccurred())
	}
}

// driftAll has another back end change every twin, one of them where nothing is done about it.
func (s *scraped) driftAll() {
	s.Helper()
	credential, err := s.hub.ServiceConnectionString("service")
	s.Expect(err).NotTo(HaveOccurred())
	s.patch(&v1alpha1.DeviceTwin{ObjectMeta: s.meta("hub-" + devices()[0])}, `{"spec":{"policies":[{"path":"desired.on","policy":"Observe"}]}}`)
	for _, device := range devices() {
		s.drift(credential, device)
	}
}

// overrun uses up the share of a small hub's messages, has the hub refuse all changes, and declares a device that
// is not there. One object waits for the hub to be cleaned up behind it.
func (s *scraped) overrun() {
	s.Helper()
	small := s.anotherHub()
	s.declareFleet("small", small, func(conn *v1alpha1.HubConnection) {
		conn.Spec.Tier, conn.Spec.Budget.DailyMessagesPercent = v1alpha1.Tier{SKU: v1alpha1.SKUF1, Units: 1}, 1
	})
	s.Eventually(s.value(readyTwins), scrapePatience, "200ms").Should(Equal(fmt.Sprint(2 * fleetSize)))
	s.declareAs("absent", "hub", "absent", `{"on":true}`)
	refused, err := small.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultStatus, Status: http.StatusTooManyRequests})
	s.Expect(err).NotTo(HaveOccurred())
	s.endRefusals = func() { small.RemoveFault(refused) }
	left := s.leftBehind()
	s.patch(left, `{"spec":{"deletionPolicy":"Clear"}}`)
	s.Eventually(func() ([]string, error) {
		err := s.client.Get(s.Context(), client.ObjectKeyFromObject(left), left)
		return left.Finalizers, err
	}, scrapePatience, "200ms").ShouldNot(BeEmpty())
	s.Expect(s.client.Delete(s.Context(), left)).To(Succeed())
	for _, device := range devices()[1:] {
		s.patch(&v1alpha1.DeviceTwin{ObjectMeta: s.meta("small-" + device)}, `{"spec":{"desired":{"on":false}}}`)
	}
}

// leftBehind is an object of the small hub.
func (s *scraped) leftBehind() *v1alpha1.DeviceTwin {
	return &v1alpha1.DeviceTwin{ObjectMeta: s.meta("small-d1")}
}

// relent sees that the dashboard shows all that is wrong, takes the finalizer off the object that waits, and
// has the hub accept changes again, too late for edits to be fast.
func (s *scraped) relent() {
	s.Helper()
	s.checkTroubledPanels()
	s.patch(s.leftBehind(), `{"metadata":{"finalizers":null}}`)
	s.endRefusals()
}

// anotherHub starts a hub with the same devices.
func (s *scraped) anotherHub() *hubemulator.Server {
	s.Helper()
	another, err := hubemulator.Start(s.Context(), hubemulator.Options{Devices: devices()})
	s.Expect(err).NotTo(HaveOccurred())
	s.Cleanup(func() { s.Expect(another.Close()).To(Succeed()) })
	return another
}

func (s *scraped) patch(obj client.Object, patch string) {
	s.Helper()
	s.Expect(s.client.Patch(s.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// disagree has a device switched off that the hub's index goes on showing as it was. Once that has lasted for
// longer than an index may be late the answer counts for more, until the twin is read again.
func (s *scraped) disagree() {
	s.Helper()
	late := s.anotherHub()
	s.declareFleet("late", late, func(conn *v1alpha1.HubConnection) {
		conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Hour, time.Hour // no twin is read
	})
	query := &v1alpha1.TwinQuery{ObjectMeta: s.meta("on")}
	query.Spec.HubRef.Name, query.Spec.Where, query.Spec.Interval.Duration = "late", "properties.desired.on = true", 5*time.Second
	s.Expect(s.client.Create(s.Context(), query)).To(Succeed())
	obj := &v1alpha1.DeviceTwin{ObjectMeta: s.meta("late-d1")}
	memberships := func() ([]string, error) {
		err := s.client.Get(s.Context(), client.ObjectKeyFromObject(obj), obj)
		return obj.Status.Memberships, err
	}
	s.Eventually(memberships, scrapePatience, "200ms").Should(Equal([]string{"on"}))
	_, err := late.AddFault(hubemulator.Fault{Operation: "query", Action: hubemulator.FaultIndexStall})
	s.Expect(err).NotTo(HaveOccurred())
	s.patch(obj, `{"spec":{"desired":{"on":false}}}`)
	s.Eventually(memberships, scrapePatience, "200ms").Should(BeEmpty())
	s.Eventually(memberships, scrapePatience, "200ms").Should(Equal([]string{"on"}))
	s.patch(obj, fmt.Sprintf(`{"metadata":{"annotations":{%q:"now"}}}`, v1alpha1.ReconcileAtAnnotation))
}

// occupy has all workers of HubConnections wait for a hub that does not answer.
func (s *scraped) occupy() {
	s.Helper()
	silent := s.anotherHub()
	_, err := silent.AddFault(hubemulator.Fault{Operation: hubemulator.FaultAnyOperation, Action: hubemulator.FaultHold})
	s.Expect(err).NotTo(HaveOccurred())
	credential, err := silent.ServiceConnectionString("service")
	s.Expect(err).NotTo(HaveOccurred())
	for i := range troubledWorkers {
		s.connect(fmt.Sprintf("silent-%d", i), credential, func(conn *v1alpha1.HubConnection) { conn.Spec.CABundle = silent.CACertificatePEM() })
	}
}

// checkTroubledPanels finds something to show in the panels that are empty while a fleet is well.
func (s *scraped) checkTroubledPanels() {
	s.Helper()
	for _, panel := range monitoring.Panels(s.T) {
		for _, expr := range panel.Queries {
			if quiet(panel, expr) && !strings.Contains(expr, "devicetwin_hub_unreadable_rows_total") {
				s.await(expr, panel.Title)
			}
		}
	}
}
