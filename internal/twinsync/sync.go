package twinsync

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubqueue"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/registration"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// maxRecord leaves room below the schema's bound of status.record.
const maxRecord = 240 << 10

// Sync brings one twin to its declaration.
type Sync struct {
	Writer

	Declared   twin.Document
	Policies   twin.Policies
	Contention *Contention
	Registrar  *registration.Registrar
	// Permit is of this reconcile; it may be exchanged for one to write.
	Permit *hubqueue.Permit

	Result Result

	// secretMissing is why the Secret of a device cannot be made, which keeps its twin from nothing.
	secretMissing error
}

// Result is what a sync did, and what it left.
type Result struct {
	Changed    twin.Differences
	LeftBehind twin.Paths
	// Registered tells that the device or module was registered for it.
	Registered bool
	// Recreated tells that the twin is another one than before.
	Recreated bool
	// Plan is the last one made for the twin as it was seen last.
	Plan twin.Plan
	// Pending is what is not done, and why.
	Pending twin.Plan
	// Unsettled tells that the record still holds more than the truth: a write may
	// be on its way to the hub.
	Unsettled bool
}

// Run returns the twin as last seen, also with most errors; Result tells what was done.
func (s *Sync) Run(ctx context.Context) (*hub.Twin, error) {
	held, err := s.attempts(ctx, s.read, s.once)
	if held != nil && (err != nil || s.Result.Plan.Withheld) {
		s.Result.Pending = twin.Pending(s.input(held, s.recorded(ctx)))
	}
	if err == nil {
		err = s.secretMissing
	}
	return held, err
}

// read reads the twin, of a device that is registered first if it has to be.
func (s *Sync) read(ctx context.Context) (*hub.Twin, error) {
	held, err := s.Session.GetTwin(s.Permit.With(ctx), s.ID)
	if s.Stored.Obj.Spec.Registration == v1alpha1.RegistrationCreate {
		switch {
		case err == nil:
			err = s.found(ctx)
		case hub.ReasonOf(err) == hub.ReasonDeviceNotFound:
			if err = s.register(ctx); err == nil {
				held, err = s.Session.GetTwin(s.Permit.With(ctx), s.ID)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	s.Result.Recreated = s.Result.Recreated || wentBack(s.Stored.Obj.Status.ETag, held.ETag)
	return held, nil
}

// found has the Secret of a registered device made again if it has to be.
func (s *Sync) found(ctx context.Context) error {
	s.secretMissing = nil
	err := s.Registrar.Found(ctx)
	if outcome.Of(err).Effects().SecretForbidden {
		s.secretMissing, err = err, nil
	}
	return err
}

func (s *Sync) register(ctx context.Context) error {
	if err := s.Admit(); err != nil {
		return err
	}
	err := s.Registrar.Register(ctx)
	if hub.OutcomeUnknown(err) {
		s.InFlight.Lost(s.Stored.Obj.UID)
	}
	s.Result.Registered = err == nil
	return err
}

// wentBack tells whether a twin's etag counts fewer writes than an earlier one: the
// device was registered anew. IoT Hub's are a counter in base64.
func wentBack(before, now string) bool {
	old, errOld := base64.StdEncoding.DecodeString(before)
	current, errNew := base64.StdEncoding.DecodeString(now)
	return errOld == nil && errNew == nil && len(old) == 8 && len(current) == 8 && bytes.Compare(current, old) < 0
}

func (s *Sync) input(held *hub.Twin, record twin.Record) twin.Input {
	return twin.Input{
		Declared: s.Declared, Record: record, Policies: s.Policies,
		Observed: twin.Document{Tags: held.Tags, Desired: held.Desired},
	}
}

// once plans for a twin as it was read and carries the plan out. It returns the
// twin as it is afterwards, nil if that is not known better than before.
func (s *Sync) once(ctx context.Context, on attempt) (*hub.Twin, error) {
	held := on.held
	in := s.input(held, on.record)
	in.Postponed = s.Contention.postponed(s.Stored.Obj.UID)
	plan := twin.Make(in)
	s.Result.Plan = plan
	if len(plan.Postponed) > 0 {
		s.Contention.waits(s.Stored.Obj.UID, plan.Postponed, held.DesiredStamps())
	}
	if plan.Patch.Empty() {
		return held, s.settle(plan, s.InFlight.Landed(s.Stored.Obj.UID))
	}
	if err := s.admitted(on.again); err != nil {
		return held, err
	}
	if err := s.record(plan.Record); err != nil {
		return nil, err
	}
	after, err := s.write(s.Permit.With(ctx), held, plan.Patch)
	if err != nil {
		return nil, err
	}
	s.Result.Changed = append(s.Result.Changed, plan.Changed...)
	if drifted := plan.Changed.Drifted(); len(drifted) > 0 {
		s.Contention.restored(s.Stored.Obj.UID, drifted, held.DesiredStamps())
	}
	now := twin.Document{Tags: after.Tags, Desired: after.Desired}
	if after.DeviceETag != held.DeviceETag || !twin.EqualBeside(now, twin.Apply(in.Observed, plan.Patch), plan.Patch) {
		// Another device of the same id, whose etag happened to be the same.
		return nil, ErrReplan
	}
	// The etag has moved: no older write of ours can be accepted any more.
	in.Record, in.Observed = plan.Record, now
	next := twin.Make(in)
	s.Result.Plan = next
	if !next.Patch.Empty() {
		s.Contention.respelled(s.Stored.Obj.UID, next.Changed)
		return after, notConverging(next.Changed)
	}
	return after, s.settle(next, s.InFlight.Answered(s.Stored.Obj.UID))
}

// admitted tells whether the hub may be changed now. A first attempt asks for a permit
// to write, if it has none yet; a later one holds its permit, and waits for its change.
func (s *Sync) admitted(again bool) error {
	if err := s.Admit(); err != nil || again {
		return err
	}
	return s.Permit.ToWrite()
}

// settle shrinks the record to the truth once nothing of ours can be on its way
// to the hub any more, and reports conflicts. It is written with the status.
func (s *Sync) settle(plan twin.Plan, landed bool) error {
	if err := s.record(s.standing(plan, landed)); err != nil {
		return err
	}
	if landed {
		s.Result.LeftBehind = plan.LeftBehind // the record no longer holds them: said once
	}
	return s.blocked(plan)
}

// standing is the record that a plan leaves: the truth once nothing of ours can still
// arrive at the hub, and until then whatever we may have written as well.
func (s *Sync) standing(plan twin.Plan, landed bool) twin.Record {
	if landed {
		s.Result.Unsettled = false
		return plan.Settled
	}
	s.Result.Unsettled = !plan.Record.Equal(plan.Settled)
	return plan.Record
}

// Holds tells whether a twin, as the hub's index shows it, leaves nothing to do: no
// write, no news for the record, nothing that is in the way of the declaration.
func (s *Sync) Holds(ctx context.Context, held *hub.Twin) bool {
	recorded := s.recorded(ctx)
	if Foreign(held, s.Owner, recorded) != nil || wentBack(s.Stored.Obj.Status.ETag, held.ETag) {
		return false
	}
	in := s.input(held, recorded)
	in.Postponed = s.Contention.postponed(s.Stored.Obj.UID)
	plan := twin.Make(in)
	record := s.standing(plan, s.InFlight.Landed(s.Stored.Obj.UID))
	text, err := record.Encode()
	if err != nil || !plan.Patch.Empty() || len(plan.Conflicts) > 0 || len(plan.Postponed) > 0 {
		return false
	}
	if !s.nothingOwned(record) && s.Stored.Obj.Status.Record != text {
		return false
	}
	s.Result.Plan = plan
	if plan.Withheld {
		s.Result.Pending = twin.Pending(in)
	}
	return true
}

// Preview plans for the twin of an object as it is now, and writes nothing: neither the hub
// nor the object. It returns no twin, and the plan for an empty one, for a device that the hub
// does not know, with the hub's error.
func (s *Sync) Preview(ctx context.Context) (*hub.Twin, twin.Plan, error) {
	held, err := s.Session.GetTwin(ctx, s.ID)
	if hub.ReasonOf(err) == hub.ReasonDeviceNotFound {
		return nil, twin.Make(s.input(&hub.Twin{}, s.recorded(ctx))), err
	}
	if err != nil {
		return nil, twin.Plan{}, err
	}
	record := s.recorded(ctx)
	if err := Foreign(held, s.Owner, record); err != nil {
		return held, twin.Plan{}, err
	}
	in := s.input(held, record)
	in.Postponed = s.Contention.postponed(s.Stored.Obj.UID)
	return held, twin.Make(in), nil
}

// blocked says what of the declaration cannot be on the hub for now.
func (s *Sync) blocked(plan twin.Plan) error {
	if len(plan.Conflicts) > 0 {
		conflicts := make([]string, len(plan.Conflicts))
		for i, conflict := range plan.Conflicts {
			conflicts[i] = conflict.String()
		}
		return outcome.Differ(outcome.Stalled, v1alpha1.ReasonConflict, strings.Join(conflicts, "; ")+
			". Remove one or the other; the rest of the declaration is kept in step")
	}
	if kept := s.Contention.notKept(s.Stored.Obj.UID, plan.Postponed); len(kept) > 0 {
		return notConverging(kept)
	}
	if len(plan.Postponed) > 0 {
		fought := s.Contention.Of(s.Stored.Obj.UID)
		return outcome.AsError(outcome.Outcome{
			Class: outcome.Transient, Reason: v1alpha1.ReasonContended, Differs: true, RetryAfter: fought.Wait,
			Message: "another writer keeps changing " + fought.Leaves + "; it is restored ever more slowly. " + fought.Advice(),
		})
	}
	return nil
}

func notConverging(differs twin.Differences) error {
	return outcome.Differ(outcome.Stalled, v1alpha1.ReasonNotConverging, "the hub took the change and holds another value: "+differs.String()+
		". Declare it as the hub spells it; it is written again once an hour at most")
}

// record puts a record into the status, if there is or was anything to record.
func (s *Sync) record(record twin.Record) error {
	text, err := record.Encode()
	if err != nil {
		return err
	}
	if s.nothingOwned(record) {
		return nil
	}
	if len(text) > maxRecord {
		return outcome.Differ(outcome.Stalled, v1alpha1.ReasonRecordTooLarge, fmt.Sprintf(
			"the ownership record needs %d bytes, status.record has room for %d: declare fewer leaves. Nothing was sent to the hub", len(text), maxRecord))
	}
	s.Stored.Obj.Status.Record = text
	return nil
}

// nothingOwned tells whether there is nothing to record, and never was.
func (s *Sync) nothingOwned(record twin.Record) bool {
	return s.Stored.Obj.Status.Record == "" && record.Empty()
}
