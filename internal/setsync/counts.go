package setsync

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// recountAll counts the set's devices by the hub.
func (r *run) recountAll(ctx context.Context) error {
	var failed error
	count := func(condition *query.Condition) int64 {
		if failed != nil {
			return 0
		}
		var n int64
		n, failed = r.count(ctx, condition)
		return n
	}
	began := r.Clock.Now()
	now := r.counts
	selector := r.questions.Selected().String()
	selectedAt := r.selectedAt
	if r.selector != selector || r.Clock.Since(selectedAt) >= r.countInterval() {
		selectedAt = r.Clock.Now()
		now.Selected = count(r.questions.Selected())
	}
	if r.revision != "" {
		written := r.questions.Written(r.revision)
		now.Written = count(written)
		now.Acknowledged, now.Offline = now.Written, 0
		if r.judged() {
			acknowledged, whole := fleet.Acknowledged(written, r.Revisions[r.revision].Declared)
			now.Acknowledged = r.counts.Acknowledged
			if whole {
				now.Acknowledged = count(acknowledged)
				now.Offline = max(0, count(fleet.Offline(written))-count(fleet.Offline(acknowledged)))
			}
		}
	}
	if failed != nil {
		return failed
	}
	if r.selector != "" && r.selector != selector {
		r.exhausted, r.marksAt = false, time.Time{} // devices joined and left by an edit, which does not wait for the interval
	}
	r.counts, r.countedAt, r.countTook = now, r.Clock.Now(), r.Clock.Since(began)
	r.selector, r.selectedAt = selector, selectedAt
	return nil
}

// tooMany refuses a selector that selects more than it is meant to.
func (r *run) tooMany() error {
	if most := int64(r.Set.Spec.MaxDevices); r.counts.Selected > most {
		return outcome.Stall(v1alpha1.ReasonTooManyDevices, fmt.Sprintf(
			"spec.selector selects %d devices, and spec.maxDevices is %d: narrow the selector, or raise maxDevices. Nothing is written", r.counts.Selected, most))
	}
	return nil
}

const (
	// overriddenEvery is how often the devices are counted of which a DeviceTwin keeps some leaves,
	// and maxOverridden how many of them are asked about.
	overriddenEvery = 10 * time.Minute
	maxOverridden   = 1000
)

// countOverridden counts the selected devices of which a DeviceTwin keeps some of the leaves.
func (r *run) countOverridden(ctx context.Context) error {
	if !r.overriddenAt.IsZero() && r.Clock.Since(r.overriddenAt) < overriddenEvery {
		return nil
	}
	ids, err := r.Others.overriding(ctx, r.host, r.Declared.Document)
	if err != nil {
		return err
	}
	var total int64
	for _, batch := range hub.Batches(ids, r.questions.Selected().String()) {
		n, err := r.count(ctx, query.And(r.questions.Selected(), query.In("deviceId", batch[0], batch[1:]...)))
		if err != nil {
			return err
		}
		total += n
	}
	r.counts.Overridden, r.overriddenAt = total, r.Clock.Now()
	return nil
}

// publish shows the counts in the status. What did not change leaves it as it is.
func (r *run) publish() {
	status := &r.Set.Status
	now := r.counts
	if !r.judged() {
		now.Acknowledged, now.Rejected, now.Offline = now.Written, 0, 0
	}
	// Between two counts by the hub, devices that it counted are counted once more as they answer.
	now.Acknowledged = min(now.Acknowledged, now.Written)
	now.Rejected = min(now.Rejected, now.Written-now.Acknowledged)
	now.Offline = min(now.Offline, now.Written-now.Acknowledged-now.Rejected)
	now.Pending = now.Written - now.Acknowledged - now.Rejected - now.Offline
	if now != status.Counts || status.ObservedAt == nil {
		status.Counts = now
		status.ObservedAt = ptr.To(metav1.NewTime(r.Clock.Now().Truncate(time.Second)))
	}
	status.Examples = append([]v1alpha1.SetExample(nil), r.examples...)
	status.InFlight = r.noted()
	status.ETA = r.eta(now)
}

// etaGrain keeps the estimate from moving with each look at it.
const etaGrain = 10 * time.Second

// eta is about when the last device is written, at the pace of this process.
func (r *run) eta(now v1alpha1.SetCounts) *metav1.Time {
	left := now.Selected - now.Written
	if r.Set.Status.Wave == "" || left <= 0 || r.progress.written == 0 || r.exhausted {
		return nil
	}
	took := r.Clock.Since(r.began)
	in := time.Duration(float64(took) / float64(r.progress.written) * float64(left))
	return ptr.To(metav1.NewTime(r.Clock.Now().Add(in).Round(etaGrain)))
}

// overriding are the devices, as many as are asked about, of which a DeviceTwin of a hub keeps some leaves.
func (o *Others) overriding(ctx context.Context, host string, declared twin.Document) ([]string, error) {
	var ids []string
	err := fieldindex.EachTwin(ctx, o.Reader, func(obj *v1alpha1.DeviceTwin) bool {
		if obj.Spec.ModuleID == "" {
			if owned, ok := o.declaredBy(ctx, obj, host); ok {
				if _, overlaps := fleet.Without(declared, owned); overlaps {
					ids = append(ids, obj.Spec.DeviceID)
				}
			}
		}
		return len(ids) < maxOverridden
	})
	return ids, err
}
