package main

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/monitoring"
)

const (
	readyTwins = `sum(devicetwin_objects{kind="DeviceTwin",condition="Ready",status="True"})`
	readyHubs  = `sum(devicetwin_objects{kind="HubConnection",condition="Ready",status="True"})`
)

// TestPrometheusReadsWhatIsShipped: over TLS with the token of who has the shipped role, and of no
// other one; every expression of alerts and dashboard finds the metrics and labels that it names; and
// on a fleet that is well no alert holds, on one that is not those that tell of it.
func TestPrometheusReadsWhatIsShipped(t *testing.T) {
	t.Parallel()
	s := newScraped(t, []string{"d1", "d2", "d3"})
	credential, err := s.hub.ServiceConnectionString("service")
	s.Expect(err).NotTo(HaveOccurred())
	s.connect("hub", credential, func(*v1alpha1.HubConnection) {})
	s.Eventually(s.value(readyHubs), scrapePatience, "200ms").Should(Equal("1"))
	s.declare("hub", "d1", `{"on":true}`)
	s.Eventually(s.value(readyTwins), scrapePatience, "200ms").Should(Equal("1"))
	_, err = s.hub.Report("d1", []byte(`{"on":true}`))
	s.Expect(err).NotTo(HaveOccurred())
	s.drift(credential, "d1")
	s.Eventually(s.value(`sum(devicetwin_drift_corrected_total) > 0 and sum(devicetwin_report_to_status_seconds_count)`), scrapePatience, "200ms").ShouldNot(BeEmpty())
	s.Eventually(s.value(`count_over_time(up{job="devicetwin-operator"}[1m]) > 3`), scrapePatience, "200ms").ShouldNot(BeEmpty())
	s.Eventually(s.value(`up{job="devicetwin-operator"}`), scrapePatience, "200ms").Should(Equal("1"))
	s.Expect(s.value(`max_over_time(up{job="stranger"}[5m])`)()).To(Equal("0"))
	s.checkNames()
	s.checkPanels()
	s.Eventually(s.holds, scrapePatience, "200ms").Should(BeEmpty(), "a fleet that is well, but for a scrape that was late")
	s.goWrong(credential)
}

// goWrong lets happen what alerts are for, the worse later.
func (s *scraped) goWrong(credential string) {
	s.Helper()
	s.connect("refused", strings.Replace(credential, "SharedAccessKey=", "SharedAccessKey=AAAA", 1), func(*v1alpha1.HubConnection) {})
	s.connect("malformed", "HostName=", func(*v1alpha1.HubConnection) {})
	s.connect("guarded", credential, func(conn *v1alpha1.HubConnection) { conn.Spec.Guard = &v1alpha1.Guard{MaxChangesPerHour: 1} })
	s.declare("guarded", "d2", `{"on":true}`)
	s.declare("guarded", "d3", `{"on":true}`)
	s.Eventually(s.holds, scrapePatience, "200ms").Should(ConsistOf(hubTroubles()))
	_, err := s.hub.AddFault(hubemulator.Fault{Operation: hubemulator.FaultAnyOperation, Action: hubemulator.FaultStatus, Status: http.StatusServiceUnavailable})
	s.Expect(err).NotTo(HaveOccurred())
	s.Eventually(s.holds, scrapePatience, "200ms").Should(ContainElements(hubOutage()))
	s.checkRules()
	s.stopManager()
	s.Eventually(s.holds, scrapePatience, "200ms").Should(ConsistOf(leaderGone()))
}

// The alerts that goWrong makes true.
func hubTroubles() []string {
	return []string{"DeviceTwinHubCredentialRefused", "DeviceTwinHubConnectionNotReady", "DeviceTwinTwinsNotReady", "DeviceTwinGuardTripped"}
}

func hubOutage() []string { return []string{"DeviceTwinHubUnreachable", "DeviceTwinReadBackStale"} }

func leaderGone() []string { return []string{"DeviceTwinNoLeader"} }

// checkRules has Prometheus itself say that it evaluates the rules, and that the texts of what
// is pending name what they are about.
func (s *scraped) checkRules() {
	s.Helper()
	res, err := http.Get(s.prometheus + "/api/v1/rules")
	s.Expect(err).NotTo(HaveOccurred())
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(bytes.Count(text, []byte(`"health":"ok"`))).To(Equal(len(monitoring.Alerts(s.T))), string(text))
	s.Expect(string(text)).To(ContainSubstring("IoT Hub " + s.hub.HostName() + " does not answer."))
	s.Expect(string(text)).NotTo(ContainSubstring("error expanding template"))
}

// await waits until an expression has series: a rate takes two scrapes.
func (s *scraped) await(expr, of string) (samples []sample) {
	s.Helper()
	s.Eventually(func() ([]sample, error) {
		var err error
		samples, err = s.query(expr)
		return samples, err
	}, scrapePatience, "200ms").ShouldNot(BeEmpty(), "%s: %s", of, expr)
	return samples
}

// checkNames finds each metric that an alert names, with each label that it goes by.
func (s *scraped) checkNames() {
	s.Helper()
	for _, alert := range monitoring.Alerts(s.T) {
		grouped := monitoring.Grouped(alert.Expr)
		found := map[string]bool{"le": true}
		for _, selector := range monitoring.Selectors(alert.Expr) {
			samples := s.await(selector.Metric+`{job="devicetwin-operator"}`, alert.Name)
			for label := range samples[0].Metric {
				found[label] = true
			}
			for _, label := range selector.Labels {
				s.Expect(samples[0].Metric).To(HaveKey(label), "%s: %s", alert.Name, selector.Metric)
			}
		}
		for _, label := range grouped {
			s.Expect(found).To(HaveKey(label), alert.Name)
		}
	}
}

// quiet tells that a query shows nothing on a fleet that is well.
func quiet(panel monitoring.Panel, query string) bool {
	return strings.Contains(query, "devicetwin_hub_unreadable_rows_total") ||
		slices.Contains([]string{"DeviceTwins not Ready, by reason", "Drifted and contended", "Hubs with a condition", "Failed requests to the hub, by code"}, panel.Title)
}

// checkPanels finds something to show in each panel.
func (s *scraped) checkPanels() {
	s.Helper()
	for _, panel := range monitoring.Panels(s.T) {
		for _, expr := range panel.Queries {
			_, err := s.query(expr)
			s.Expect(err).NotTo(HaveOccurred(), panel.Title)
			if !quiet(panel, expr) {
				s.await(expr, panel.Title)
			}
		}
	}
}
