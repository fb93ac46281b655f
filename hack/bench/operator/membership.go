package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

const (
	queries = 100
	// membershipIntervals is how many intervals hub queries are counted over.
	membershipIntervals = 6
	// memberships is how many devices report into a query, one after the other.
	memberships = 5
	// joinsWithin bounds the time from the read of a twin to its membership.
	joinsWithin = 2 * time.Second
	// answerLimit is how long the TwinQueries may take to be answered for the first
	// time: at an S1 hub's 20 pages a minute, a hundred take five minutes.
	answerLimit = 10 * time.Minute
	// alarmQuery selects what reports an alarm.
	alarmQuery = "query-1"
)

// texts are the conditions of the TwinQueries. Each finds one page of devices at most.
func texts() []string {
	return []string{
		"properties.reported.mode = 'alarm'",
		"tags.slot = 7",
		"tags.slot = 8 AND tags.location.region = 'US'",
		"tags.slot IN [9]",
		"tags.slot = 10 AND is_defined(properties.desired.power)",
	}
}

// membership is what is seen without and with TwinQueries, and after how many seconds
// each report, and the membership that follows from it, is in a status.
type membership struct {
	without, with observation
	reads, joins  []float64
}

func membershipRow() scenario {
	m := &membership{}
	return scenario{
		name: "membership", title: "100 TwinQueries with 5 different texts",
		usesFleet: true,
		steps: []step{
			{"use the fleet", useFleet},
			{"watch without TwinQueries", observe(&m.without, membershipIntervals*interval)},
			{"create the TwinQueries", createQueries},
			{"wait until all have an answer", awaitAnswers},
			{"wait until nothing is written", quiet(quietTime)},
			{"watch with TwinQueries", observe(&m.with, membershipIntervals*interval)},
			{"report the queries of the hub", m.reportQueries},
			{"have devices join a query", m.joinEach},
			{"delete the TwinQueries", deleteQueries},
		},
		report: m.report,
	}
}

func createQueries(ctx context.Context, r *run) error {
	r.env.stir()
	for i := range queries {
		query := &v1alpha1.TwinQuery{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("query-%d", i+1)},
			Spec: v1alpha1.TwinQuerySpec{
				HubRef: v1alpha1.HubReference{Name: r.hub().name}, Where: texts()[i%len(texts())], Interval: metav1.Duration{Duration: interval},
			},
		}
		if err := r.env.kube.Create(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

func awaitAnswers(ctx context.Context, r *run) error {
	return r.await(ctx, "TwinQueries have an answer", answerLimit, time.Second, func() (string, bool, error) {
		var list v1alpha1.TwinQueryList
		if err := r.env.kube.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return "", false, err
		}
		answered := 0
		for i := range list.Items {
			if list.Items[i].Status.Count != nil {
				answered++
			}
		}
		return fmt.Sprintf("%d of %d", answered, queries), answered == queries, nil
	})
}

// deleteQueries leaves the fleet to the next row as it was.
func deleteQueries(ctx context.Context, r *run) error {
	r.env.stir()
	return r.env.kube.DeleteAllOf(ctx, &v1alpha1.TwinQuery{}, client.InNamespace(namespace))
}

func (m *membership) reportQueries(_ context.Context, r *run) error {
	without := float64(m.without.calls.query) / membershipIntervals
	with := float64(m.with.calls.query) / membershipIntervals
	r.out.add("TwinQueries", queries, "")
	r.out.add("different texts", float64(len(texts())), "")
	r.out.add("hub queries in an interval, without TwinQueries", without, "")
	r.out.add("hub queries in an interval, with them", with, "")
	r.out.add("writes to the API server while nothing changed", float64(m.with.writes), "")
	r.out.bound(bounds.AtMost("hub queries in an interval beyond reading back", "%.1f", with-without, float64(len(texts()))))
	return nil
}

// joinEach has devices report what a query selects, one after the other.
func (m *membership) joinEach(ctx context.Context, r *run) error {
	for i := range memberships {
		if err := m.join(ctx, r, deviceID(fleetSet, 13+i)); err != nil {
			return err
		}
	}
	return nil
}

// join waits for the report and the membership. What does not come counts as the limit.
func (m *membership) join(ctx context.Context, r *run, id string) error {
	device, err := r.hub().dial(ctx, id)
	if err != nil {
		return err
	}
	defer r.env.stir() // its leaving shows, too
	defer device.Leave()
	at, err := sendReport(device, map[string]any{"mode": "alarm", "connectivity": "alarm"})
	if err != nil {
		return err
	}
	limit := 10 * interval
	var join, read float64
	_, err = r.env.until(ctx, id, at, limit, func(twin *v1alpha1.DeviceTwin) bool {
		now := time.Since(at).Seconds()
		if read == 0 && twin.Status.Connectivity == "alarm" {
			read = now
		}
		if join == 0 && slices.Contains(twin.Status.Memberships, alarmQuery) {
			join = now
		}
		return read > 0 && join > 0
	})
	m.joins, m.reads = append(m.joins, cmp.Or(join, limit.Seconds())), append(m.reads, cmp.Or(read, limit.Seconds()))
	return err
}

func (m *membership) report(_ context.Context, r *run) error {
	late := make([]float64, len(m.joins))
	for i := range m.joins {
		late[i] = m.joins[i] - m.reads[i]
	}
	worst := stats.Quantile(late, 1)
	r.out.add("report to membership, median", stats.Median(m.joins), "s")
	r.out.add("report to the status that shows it, median", stats.Median(m.reads), "s")
	r.out.add("from that status to the membership, worst", worst, "s")
	r.out.note("The interval of the TwinQueries is %s too. Below zero, the membership was there before the report was read back.", interval)
	r.out.bound(bounds.AtMost("the twin's read to the membership", "%.1f s", worst, joinsWithin.Seconds()))
	return nil
}
