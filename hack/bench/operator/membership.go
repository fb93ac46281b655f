package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/mqttdevice"
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

func measureMembership(ctx context.Context, b *bench, out *result) error {
	d, ctx, h, err := b.theFleet(ctx)
	if err != nil {
		return err
	}
	_, without, _, err := d.watch(ctx, h, membershipIntervals*interval)
	if err != nil {
		return err
	}
	if err := d.createQueries(ctx, h); err != nil {
		return err
	}
	_, with, writes, err := d.watch(ctx, h, membershipIntervals*interval)
	if err != nil {
		return err
	}
	perInterval := func(c calls) float64 { return float64(c.query) / membershipIntervals }
	beyond := perInterval(with) - perInterval(without)
	out.add("TwinQueries", queries, "")
	out.add("different texts", float64(len(texts())), "")
	out.add("hub queries in an interval, without TwinQueries", perInterval(without), "")
	out.add("hub queries in an interval, with them", perInterval(with), "")
	out.add("writes to the API server while nothing changed", float64(writes), "")
	out.bound(bounds.AtMost("hub queries in an interval beyond reading back", "%.1f", beyond, float64(len(texts()))))
	joins, reads, err := d.joins(ctx, h)
	if err != nil {
		return err
	}
	late := make([]float64, len(joins))
	for i := range joins {
		late[i] = joins[i] - reads[i]
	}
	out.add("report to membership, median", stats.Median(joins), "s")
	out.add("report to the status that shows it, median", stats.Median(reads), "s")
	out.add("from that status to the membership, worst", stats.Quantile(late, 1), "s")
	out.note("The interval of the TwinQueries is %s too. Below zero, the membership was there before the report was read back.", interval)
	out.bound(bounds.AtMost("the twin's read to the membership", "%.1f s", stats.Quantile(late, 1), joinsWithin.Seconds()))
	return d.deleteQueries(ctx)
}

// createQueries creates the TwinQueries and waits until all have an answer and nothing
// is written on their account any more.
func (d *bed) createQueries(ctx context.Context, h *hub) error {
	d.stir()
	for i := range queries {
		query := &v1alpha1.TwinQuery{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("query-%d", i+1)},
			Spec: v1alpha1.TwinQuerySpec{
				HubRef: v1alpha1.HubReference{Name: h.name}, Where: texts()[i%len(texts())], Interval: metav1.Duration{Duration: interval},
			},
		}
		if err := d.kube.Create(ctx, query); err != nil {
			return err
		}
	}
	if err := d.bench.await(ctx, "TwinQueries have an answer", answerLimit, time.Second, func() (string, bool, error) {
		var list v1alpha1.TwinQueryList
		if err := d.kube.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return "", false, err
		}
		answered := 0
		for i := range list.Items {
			if list.Items[i].Status.Count != nil {
				answered++
			}
		}
		return fmt.Sprintf("%d of %d", answered, queries), answered == queries, nil
	}); err != nil {
		return err
	}
	_, err := d.quiet(ctx, quietTime)
	return err
}

// deleteQueries leaves the fleet to the next row as it was.
func (d *bed) deleteQueries(ctx context.Context) error {
	d.stir()
	return d.kube.DeleteAllOf(ctx, &v1alpha1.TwinQuery{}, client.InNamespace(namespace))
}

// joins has devices report what a query selects, and returns after how many seconds
// each membership, and each report, is in the status.
func (d *bed) joins(ctx context.Context, h *hub) (joins, reads []float64, err error) {
	for i := range memberships {
		device, err := h.dial(ctx, deviceID(fleetSet, 13+i))
		if err != nil {
			return nil, nil, err
		}
		join, read, err := d.join(ctx, device)
		device.Leave()
		d.stir()
		if err != nil {
			return nil, nil, err
		}
		joins, reads = append(joins, join), append(reads, read)
	}
	return joins, reads, nil
}

// orElse is a number of seconds, or the limit where there is none.
func orElse(seconds float64, limit time.Duration) float64 {
	if seconds > 0 {
		return seconds
	}
	return limit.Seconds()
}

// join waits for the report and the membership, each as long as a limit.
func (d *bed) join(ctx context.Context, device *mqttdevice.Device) (join, read float64, err error) {
	at, err := sendReport(device, map[string]any{"mode": "alarm", "connectivity": "alarm"})
	if err != nil {
		return 0, 0, err
	}
	limit := 10 * interval
	_, err = d.until(ctx, device.ID, at, limit, func(twin *v1alpha1.DeviceTwin) bool {
		now := time.Since(at).Seconds()
		if read == 0 && twin.Status.Connectivity == "alarm" {
			read = now
		}
		if join == 0 && slices.Contains(twin.Status.Memberships, alarmQuery) {
			join = now
		}
		return read > 0 && join > 0
	})
	if errors.Is(err, errTooLong) { // counts as long as was waited
		join, read, err = orElse(join, limit), orElse(read, limit), nil
	}
	return join, read, err
}
