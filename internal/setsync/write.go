package setsync

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// retryRefused is when a device is tried again that could not be written.
const retryRefused = 10 * time.Minute

// target is what is to become of one device.
type target struct {
	held *hub.Twin
	// revision that it is to hold; "" clears it.
	revision string
	wave     string
	// waveOf is the wave of the device by its twin, which may have changed since; false where it may not be
	// written any more. It is nil where no wave counts.
	waveOf func(held *hub.Twin) (wave string, may bool, err error)
	cause  string
	// markerAlone has nothing but the marker cleared.
	markerAlone bool
	// slot tells it apart from those that are written at once.
	slot string
}

// result is what became of one device.
type result struct {
	// written tells that a change was made, and read that the twin was read at the hub itself.
	written, read bool
	// overridden and conflicting tell that others keep some of the leaves.
	overridden, conflicting bool
	// refused is why the device cannot be written; nil where it could be.
	refused error
}

// write brings one twin to what it is to hold. An error ends the step; what concerns this
// device alone is in the result.
func (r *run) write(ctx context.Context, t target) (done result, err error) {
	read, indexed := r.reader(t)
	_, err = twinsync.Attempts(ctx, read, func(ctx context.Context, held *hub.Twin, _ bool) (*hub.Twin, error) {
		after, failed := r.once(ctx, t, held, indexed(), &done)
		return after, failed
	})
	if ends(err) {
		return done, err
	}
	done.refused = err
	return done, nil
}

// reader shows the twin as the index had it first, and reads it at the hub after that.
func (r *run) reader(t target) (read func(context.Context) (*hub.Twin, error), indexed func() bool) {
	reads := 0
	return func(ctx context.Context) (*hub.Twin, error) {
		if reads++; reads == 1 {
			return t.held, nil
		}
		return r.Hub.Session.GetTwin(ctx, t.held.ID)
	}, func() bool { return reads == 1 }
}

// ends tells whether an error is about more than one device: the hub, our own rate, the guard, the
// lease.
func ends(err error) bool {
	if err == nil {
		return false
	}
	if reason := hub.ReasonOf(err); reason != "" {
		return reason != hub.ReasonRefused && reason != hub.ReasonDeviceNotFound
	}
	return !slices.Contains([]string{
		v1alpha1.ReasonOwnedElsewhere, v1alpha1.ReasonNotConverging, v1alpha1.ReasonContended,
	}, outcome.Of(err).Reason)
}

func (r *run) once(ctx context.Context, t target, held *hub.Twin, indexed bool, done *result) (*hub.Twin, error) {
	if done.read = !indexed; done.read {
		if concerned, err := r.concerns(&t, held); !concerned || err != nil {
			return held, err
		}
	}
	record := r.record(held, t.markerAlone)
	if err := twinsync.Foreign(held, r.Hub.Spec.OwnerTag, record); err != nil {
		return held, err
	}
	in, err := r.input(ctx, t, held, record, done)
	if err != nil {
		return held, err
	}
	plan := twin.Make(in)
	done.conflicting = done.conflicting || len(plan.Conflicts) > 0
	if plan.Patch.Empty() {
		return held, nil
	}
	if indexed && len(plan.Removed) > 0 {
		return nil, twinsync.ErrReplan // nothing is deleted by what the index shows
	}
	if err := r.Admit(held.ID.Device); err != nil {
		return held, err
	}
	after, err := r.patch(ctx, t, held, plan.Patch)
	if err != nil {
		return nil, err
	}
	done.written = true
	if after.DeviceETag != held.DeviceETag {
		return nil, twinsync.ErrReplan // another device of the same id, whose etag happened to be the same
	}
	return after, converged(in, plan, twin.Document{Tags: after.Tags, Desired: after.Desired})
}

// converged is an error where a plan made from the hub's answer still wants to write: the hub spells what
// it took in a way of its own.
func converged(in twin.Input, plan twin.Plan, now twin.Document) error {
	meant := twin.Apply(in.Observed, plan.Patch)
	if twin.Equal(now, meant) {
		return nil // which leaves nothing to plan
	}
	if !twin.EqualBeside(now, meant, plan.Patch) {
		return twinsync.ErrReplan // as above
	}
	in.Unrecorded = false
	in.Record, in.Observed = twin.Make(in).Record, now
	next := twin.Make(in)
	if next.Patch.Empty() {
		return nil
	}
	return outcome.Differ(outcome.Stalled, v1alpha1.ReasonNotConverging, "the hub took the change and holds another value: "+next.Changed.String())
}

// concerns tells whether a device is still one to be written, or one that left, by its twin itself. It may
// belong to another wave by now.
func (r *run) concerns(t *target, held *hub.Twin) (concerned bool, err error) {
	if t.cause == CauseDeletion {
		return true, nil
	}
	selected, err := r.selects(held)
	if err != nil || selected != (t.revision != "") {
		return false, err
	}
	if t.waveOf == nil {
		return true, nil
	}
	t.wave, concerned, err = t.waveOf(held)
	return concerned, err
}

func (r *run) patch(ctx context.Context, t target, held *hub.Twin, patch twin.Document) (after *hub.Twin, err error) {
	err = r.permitted(ctx, dispatch.Reconciles, updateNeed, t.slot, func(ctx context.Context) error {
		after, err = r.Hub.Session.PatchTwin(ctx, held.ID, held.ETag, hub.Patch(patch))
		return err
	})
	if hub.ReasonOf(err) == hub.ReasonPreconditionFailed {
		return nil, twinsync.ErrReplan
	}
	if err == nil {
		r.Wrote(ctx, t.cause, twinsync.ChangeOf(held, patch, after))
	}
	return after, err
}

// selects tells whether a device is selected, by its twin.
func (r *run) selects(held *hub.Twin) (bool, error) {
	document, err := held.Document()
	if err != nil {
		return false, fmt.Errorf("reading the twin of %s: %w", held.ID, err)
	}
	return r.Declared.Selector.Matches(document), nil
}

// record is what was written to a twin by what its marker names: the leaves of that revision, if
// it is kept, and the marker.
func (r *run) record(held *hub.Twin, markerAlone bool) twin.Record {
	about := twin.Target{Host: r.host, DeviceID: held.ID.Device, Owner: string(r.Set.UID)}
	marker, ok := fleet.MarkerOf(held.Tags, r.name)
	if !ok {
		return twin.NewRecord(about)
	}
	own := fleet.WithMarker(twin.Document{}, r.name, marker)
	if markerAlone {
		return twin.Written(about, own)
	}
	return twin.Written(about, r.Revisions[marker.Revision].Declared, r.owner(), own)
}

func (r *run) input(ctx context.Context, t target, held *hub.Twin, record twin.Record, done *result) (twin.Input, error) {
	in := twin.Input{
		Record: record, Unrecorded: true, Observed: twin.Document{Tags: held.Tags, Desired: held.Desired}, Policies: r.policies,
	}
	declared := r.Declared.Document
	if t.revision != "" {
		var err error
		if declared, err = r.declares(t.revision); err != nil {
			return in, err
		}
	}
	others, err := r.Others.of(ctx, r.host, held, declared, r.rivals)
	if err != nil {
		return in, err
	}
	in.Spared = others.Document
	done.overridden, done.conflicting = others.overridden, others.conflicting
	if t.revision == "" {
		return in, nil
	}
	rest, _ := fleet.Without(declared, others.Document)
	wave := t.wave
	if marker, ok := fleet.MarkerOf(held.Tags, r.name); ok && marker.Revision == t.revision {
		wave = marker.Wave
	}
	in.Declared = fleet.WithMarker(rest, r.name, fleet.Marker{Revision: t.revision, Wave: wave})
	in.Postponed = r.postponed(held.ID.Device)
	return in, nil
}

// note remembers what became of a device, and counts it.
func (r *run) note(t target, done result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	device := t.held.ID.Device
	if done.refused != nil {
		out := outcome.Of(done.refused)
		if hub.ReasonOf(done.refused) == hub.ReasonDeviceNotFound {
			r.recent.add(t.held) // the index still lists it
			return
		}
		r.refused.Add(device, r.Clock.Now().Add(retryRefused))
		delete(r.inFlight, device)
		r.example(device, out.Reason, strings.TrimSpace(out.Message))
		return
	}
	if done.conflicting {
		if t.cause == CauseDrift {
			r.conflicts++
		}
		r.example(device, v1alpha1.ReasonConflict, "another set, or another writer, keeps some of the leaves")
	}
	if done.written || done.read {
		r.recent.add(t.held) // as the index showed it, it is late
	}
	if !done.written {
		return
	}
	r.changes++
	if t.cause == CauseDrift {
		r.restore(device)
	}
	if t.cause != CauseRollout || t.revision != r.revision {
		return
	}
	r.progress.written++
	if marker, ok := fleet.MarkerOf(t.held.Tags, r.name); ok && marker.Revision == r.revision {
		return // it was counted
	}
	r.counts.Written++
	if t.wave == r.wave {
		r.tally.Written++
	}
	if done.conflicting {
		r.counts.Conflicting++
	}
}
