package setsync

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

const (
	// pollEvery is how often devices in flight are read at most, and pollShare how much of the
	// hub's rate of queries that may take.
	pollEvery = time.Second
	pollShare = 0.5
	// maxDoubts bounds how many devices of one poll are read at the hub itself, of which the index shows
	// something older than what was written.
	maxDoubts = 20
)

// ahead notes the devices in flight in the status, and stores it before they are written.
func (r *run) ahead(ctx context.Context) error {
	r.Set.Status.InFlight = r.noted()
	return r.Store(ctx)
}

// sortedKeys are the ids of a set of devices; nil for none.
func sortedKeys(devices map[string]struct{}) []string { return slices.Sorted(maps.Keys(devices)) }

// maxNoted is the schema's bound of status.inFlight, and so of spec.rollout.maxInFlight.
const maxNoted = 1000

// noted are the devices in flight as the status names them. There are more than may be written where devices
// are back that were offline: those were written long ago, and the index shows them.
func (p *progress) noted() []string {
	all := sortedKeys(p.inFlight)
	return all[:min(len(all), maxNoted)]
}

// pollDue tells whether the devices in flight are to be read again.
func (r *run) pollDue() bool {
	return len(r.inFlight) > 0 && r.Clock.Since(r.polledAt) >= r.pollInterval()
}

// pollInterval leaves room in the hub's rate of queries for the others.
func (r *run) pollInterval() time.Duration {
	pages := float64(len(r.inFlight)/hub.PageRows + 1)
	rate := r.Hub.Session.Dispatcher().Rate(dispatch.Queries).PerSecond
	if rate <= 0 {
		return time.Minute
	}
	return max(pollEvery, time.Duration(pages/(rate*pollShare)*float64(time.Second)))
}

// poll reads the devices in flight, and takes off those that have answered.
func (r *run) poll(ctx context.Context) error {
	r.polledAt = r.Clock.Now()
	twins, err := r.read(ctx, sortedKeys(r.inFlight))
	if err != nil {
		return err
	}
	shown := map[string]struct{}{}
	for _, held := range twins {
		if marker, _ := fleet.MarkerOf(held.Tags, r.name); marker.Revision == r.revision {
			shown[held.ID.Device] = struct{}{}
			if err := r.settle(ctx, held); err != nil {
				return err
			}
		}
	}
	doubts := 0
	for _, device := range sortedKeys(r.inFlight) {
		if _, known := shown[device]; known {
			continue
		}
		if doubts++; doubts > maxDoubts {
			break
		}
		if err := r.doubt(ctx, hub.ID{Device: device}); err != nil {
			return err
		}
	}
	return nil
}

// doubt asks the hub itself about a device of which the index shows no such write.
func (r *run) doubt(ctx context.Context, id hub.ID) error {
	held, err := r.Hub.Session.GetTwin(ctx, id)
	switch {
	case hub.ReasonOf(err) == hub.ReasonDeviceNotFound:
		delete(r.inFlight, id.Device)
		return nil
	case err != nil:
		return err
	}
	return r.settle(ctx, held)
}

// settle takes a device off that is in flight no more.
func (r *run) settle(ctx context.Context, held *hub.Twin) error {
	device := held.ID.Device
	marker, _ := fleet.MarkerOf(held.Tags, r.name)
	if marker.Revision != r.revision {
		delete(r.inFlight, device) // it was not written, or is not any more
		return nil
	}
	verdict, message, err := r.judge(ctx, held)
	if err != nil || verdict == fleet.Pending {
		return err
	}
	delete(r.inFlight, device)
	own := marker.Wave == r.wave
	r.tallied(verdict, own)
	r.failed(device, verdict, message)
	return nil
}

// judge says what a device that was written has made of it.
func (r *run) judge(ctx context.Context, held *hub.Twin) (fleet.Verdict, string, error) {
	declared, err := r.declares(r.revision)
	if err != nil {
		return fleet.Pending, "", err
	}
	others, err := r.Others.of(ctx, r.host, held, declared, r.rivals)
	if err != nil {
		return fleet.Pending, "", err
	}
	rest, _ := fleet.Without(declared, others.Document)
	verdict, message := fleet.Judge(fleet.Answer{
		Declared: rest.Desired, Reported: held.Reported, Stamps: held.DesiredStamps(), Connected: held.ConnectionState == string(v1alpha1.Connected),
	}, r.Set.Spec.Rollout.Success.Within.Duration, r.Clock.Now())
	return verdict, message, nil
}

// tallied counts a verdict, for the wave too if the device is of it.
func (r *run) tallied(verdict fleet.Verdict, own bool) {
	switch verdict {
	case fleet.Accepted:
		r.counts.Acknowledged++
		if own {
			r.tally.Acknowledged++
		}
	case fleet.Rejected, fleet.TimedOut:
		if verdict == fleet.Rejected {
			r.counts.Rejected++
		}
		if own {
			r.tally.Failed++
		}
	case fleet.Absent:
		r.counts.Offline++
		if own {
			r.tally.Offline++
		}
	case fleet.Pending:
	}
}

// failed shows a device that failed.
func (r *run) failed(device string, verdict fleet.Verdict, message string) {
	//exhaustive:ignore
	switch verdict {
	case fleet.Rejected:
		r.example(device, v1alpha1.ReasonRejectedByDevice, message)
	case fleet.TimedOut:
		r.example(device, v1alpha1.ReasonNotAcknowledged, message)
	}
}

// restoreInFlight takes up what a process before this one noted: each device is read at the hub, which
// knows what the index may not show yet.
func (r *run) restoreInFlight(ctx context.Context) error {
	for _, device := range r.Set.Status.InFlight {
		if _, known := r.inFlight[device]; known || !r.Hub.Scope.Covers(device) {
			continue
		}
		held, err := r.Hub.Session.GetTwin(ctx, hub.ID{Device: device})
		switch {
		case hub.ReasonOf(err) == hub.ReasonDeviceNotFound:
			continue
		case err != nil:
			return err
		}
		if marker, _ := fleet.MarkerOf(held.Tags, r.name); marker.Revision == r.revision {
			r.inFlight[device] = struct{}{}
		}
	}
	return nil
}

// rebase counts the wave by the hub. Of those that have not acknowledged, as far as a query tells,
// the documents are read; the others have.
func (r *run) rebase(ctx context.Context) error {
	in := r.questions.WrittenIn(r.revision, r.wave)
	if r.counts.Written == 0 && r.Clock.Since(r.countedAt) < stepTime {
		r.tally, r.based, r.basedAt = fleet.WaveCounts{}, true, r.Clock.Now()
		return r.restoreInFlight(ctx)
	}
	if !r.judged() {
		n, err := r.count(ctx, in)
		r.tally, r.based, r.basedAt = fleet.WaveCounts{Written: n, Acknowledged: n}, err == nil, r.Clock.Now()
		return err
	}
	if err := r.restoreInFlight(ctx); err != nil {
		return err
	}
	declared := r.Revisions[r.revision].Declared
	before, err := r.tallies(ctx, in, declared)
	if err != nil {
		return err
	}
	found, listed, err := r.classify(ctx, fleet.Unacknowledged(in, declared))
	if err != nil {
		return err
	}
	after, err := r.tallies(ctx, in, declared)
	if err != nil {
		return err
	}
	found.Written = after.Written
	found.Acknowledged += after.Acknowledged
	if r.based = before == after; r.based && after.whole {
		// What is neither listed nor acknowledged reports a value of another type. While the index moves,
		// it may have come in between: it is counted again then.
		found.Failed += max(0, after.Written-after.Acknowledged-listed)
	}
	r.tally, r.basedAt = found, r.Clock.Now()
	return nil
}

// tallies are what the hub counts of a wave, and whether it tells who has acknowledged.
type tallies struct {
	Written, Acknowledged int64
	whole                 bool
}

func (r *run) tallies(ctx context.Context, in *query.Condition, declared twin.Document) (counted tallies, err error) {
	if counted.Written, err = r.count(ctx, in); err != nil {
		return counted, err
	}
	acknowledged, whole := fleet.Acknowledged(in, declared)
	if counted.whole = whole; whole {
		counted.Acknowledged, err = r.count(ctx, acknowledged)
	}
	return counted, err
}

// classify reads all twins that satisfy a condition and counts what their devices have made of
// the revision. Those that may still answer are in flight.
func (r *run) classify(ctx context.Context, condition *query.Condition) (counts fleet.WaveCounts, listed int64, err error) {
	for next := (continuation{}); ; {
		var twins []*hub.Twin
		if twins, next, err = r.page(ctx, condition, next); err != nil {
			return counts, listed, err
		}
		for _, held := range twins {
			listed++
			verdict, message, err := r.judge(ctx, held)
			if err != nil {
				return counts, listed, err
			}
			r.classified(&counts, held.ID.Device, verdict)
			r.failed(held.ID.Device, verdict, message)
		}
		if next.ended() {
			return counts, listed, nil
		}
	}
}

func (r *run) classified(counts *fleet.WaveCounts, device string, verdict fleet.Verdict) {
	if verdict != fleet.Pending {
		delete(r.inFlight, device)
	}
	switch verdict {
	case fleet.Pending:
		r.inFlight[device] = struct{}{}
	case fleet.Accepted:
		counts.Acknowledged++
	case fleet.Rejected, fleet.TimedOut:
		counts.Failed++
	case fleet.Absent:
		counts.Offline++
	}
}
