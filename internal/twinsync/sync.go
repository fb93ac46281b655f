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
}

// Result is what a sync did, and what it left.
type Result struct {
	Changed    twin.Differences
	LeftBehind twin.Paths
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
func (p *Sync) Run(ctx context.Context) (*hub.Twin, error) {
	held, err := p.attempts(ctx, p.read, p.once)
	if held != nil && (err != nil || p.Result.Plan.Withheld) {
		p.Result.Pending = twin.Pending(p.input(ctx, held))
	}
	return held, err
}

// read reads the twin, of a device that is registered first if it has to be.
func (p *Sync) read(ctx context.Context) (*hub.Twin, error) {
	held, err := p.Session.GetTwin(p.Permit.With(ctx), p.ID)
	if p.Stored.Obj.Spec.Registration == v1alpha1.RegistrationCreate {
		switch {
		case err == nil:
			err = p.Registrar.Found(ctx)
		case hub.ReasonOf(err) == hub.ReasonDeviceNotFound:
			if err = p.register(ctx); err == nil {
				held, err = p.Session.GetTwin(p.Permit.With(ctx), p.ID)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	p.Result.Recreated = p.Result.Recreated || wentBack(p.Stored.Obj.Status.ETag, held.ETag)
	return held, nil
}

func (p *Sync) register(ctx context.Context) error {
	if err := p.Admit(); err != nil {
		return err
	}
	err := p.Registrar.Register(ctx)
	if hub.OutcomeUnknown(err) {
		p.InFlight.Lost(p.Stored.Obj.UID)
	}
	return err
}

// wentBack tells whether a twin's etag counts fewer writes than an earlier one: the
// device was registered anew. IoT Hub's are a counter in base64.
func wentBack(before, now string) bool {
	old, errOld := base64.StdEncoding.DecodeString(before)
	current, errNew := base64.StdEncoding.DecodeString(now)
	return errOld == nil && errNew == nil && len(old) == 8 && len(current) == 8 && bytes.Compare(current, old) < 0
}

func (p *Sync) input(ctx context.Context, held *hub.Twin) twin.Input {
	return twin.Input{
		Declared: p.Declared, Record: p.recorded(ctx), Policies: p.Policies,
		Observed: twin.Document{Tags: held.Tags, Desired: held.Desired},
	}
}

// once plans for a twin as it was read and carries the plan out. It returns the
// twin as it is afterwards, nil if that is not known better than before. again tells
// that an earlier attempt found the twin changed.
func (p *Sync) once(ctx context.Context, held *hub.Twin, again bool) (*hub.Twin, error) {
	in := p.input(ctx, held)
	in.Postponed = p.Contention.postponed(p.Stored.Obj.UID)
	plan := twin.Make(in)
	p.Result.Plan = plan
	p.Contention.waits(p.Stored.Obj.UID, plan.Postponed, held.DesiredStamps)
	if plan.Patch.Empty() {
		return held, p.settle(plan, p.InFlight.Landed(p.Stored.Obj.UID))
	}
	if err := p.admitted(again); err != nil {
		return held, err
	}
	if err := p.record(plan.Record); err != nil {
		return nil, err
	}
	after, err := p.write(p.Permit.With(ctx), held, plan.Patch)
	if err != nil {
		return nil, err
	}
	p.Result.Changed = append(p.Result.Changed, plan.Changed...)
	p.Contention.restored(p.Stored.Obj.UID, plan.Changed.Drifted(), held.DesiredStamps)
	now := twin.Document{Tags: after.Tags, Desired: after.Desired}
	if after.DeviceETag != held.DeviceETag || !twin.EqualBeside(now, twin.Apply(in.Observed, plan.Patch), plan.Patch) {
		// Another device of the same id, whose etag happened to be the same.
		return nil, errReplan
	}
	// The etag has moved: no older write of ours can be accepted any more.
	in.Record, in.Observed = plan.Record, now
	next := twin.Make(in)
	p.Result.Plan = next
	if !next.Patch.Empty() {
		p.Contention.respelled(p.Stored.Obj.UID, next.Changed)
		return after, notConverging(next.Changed)
	}
	return after, p.settle(next, p.InFlight.Answered(p.Stored.Obj.UID))
}

// admitted tells whether the hub may be changed now. A first attempt asks for a turn to
// write, if it has none yet; a later one holds its turn, and waits for its change.
func (p *Sync) admitted(again bool) error {
	if err := p.Admit(); err != nil || again {
		return err
	}
	return p.Permit.ToWrite()
}

// settle shrinks the record to the truth once nothing of ours can be on its way
// to the hub any more, and reports conflicts. It is written with the status.
func (p *Sync) settle(plan twin.Plan, landed bool) error {
	if err := p.record(p.standing(plan, landed)); err != nil {
		return err
	}
	if landed {
		p.Result.LeftBehind = plan.LeftBehind // the record no longer holds them: said once
	}
	return p.blocked(plan)
}

// standing is the record that a plan leaves: the truth once nothing of ours can still
// arrive at the hub, and until then whatever we may have written as well.
func (p *Sync) standing(plan twin.Plan, landed bool) twin.Record {
	if landed {
		p.Result.Unsettled = false
		return plan.Settled
	}
	p.Result.Unsettled = !plan.Record.Equal(plan.Settled)
	return plan.Record
}

// Holds tells whether a twin, as the hub's index shows it, leaves nothing to do: no
// write, no news for the record, nothing that is in the way of the declaration.
func (p *Sync) Holds(ctx context.Context, held *hub.Twin) bool {
	if foreign(held, p.Owner, p.recorded(ctx)) != nil || wentBack(p.Stored.Obj.Status.ETag, held.ETag) {
		return false
	}
	in := p.input(ctx, held)
	in.Postponed = p.Contention.postponed(p.Stored.Obj.UID)
	plan := twin.Make(in)
	record := p.standing(plan, p.InFlight.Landed(p.Stored.Obj.UID))
	text, err := record.Encode()
	if err != nil || !plan.Patch.Empty() || len(plan.Conflicts) > 0 || len(plan.Postponed) > 0 {
		return false
	}
	if !p.nothingOwned(record) && p.Stored.Obj.Status.Record != text {
		return false
	}
	p.Result.Plan = plan
	if plan.Withheld {
		p.Result.Pending = twin.Pending(in)
	}
	return true
}

// blocked says what of the declaration cannot be on the hub for now.
func (p *Sync) blocked(plan twin.Plan) error {
	if len(plan.Conflicts) > 0 {
		conflicts := make([]string, len(plan.Conflicts))
		for i, conflict := range plan.Conflicts {
			conflicts[i] = conflict.String()
		}
		return outcome.Differ(outcome.Stalled, v1alpha1.ReasonConflict, strings.Join(conflicts, "; ")+
			". Remove one or the other; the rest of the declaration is kept in step")
	}
	if kept := p.Contention.notKept(p.Stored.Obj.UID, plan.Postponed); len(kept) > 0 {
		return notConverging(kept)
	}
	if len(plan.Postponed) > 0 {
		fought := p.Contention.Of(p.Stored.Obj.UID)
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
func (p *Sync) record(record twin.Record) error {
	text, err := record.Encode()
	if err != nil {
		return err
	}
	if p.nothingOwned(record) {
		return nil
	}
	if len(text) > maxRecord {
		return outcome.Differ(outcome.Stalled, v1alpha1.ReasonRecordTooLarge, fmt.Sprintf(
			"the ownership record needs %d bytes, status.record has room for %d: declare fewer leaves. Nothing was sent to the hub", len(text), maxRecord))
	}
	p.Stored.Obj.Status.Record = text
	return nil
}

// nothingOwned tells whether there is nothing to record, and never was.
func (p *Sync) nothingOwned(record twin.Record) bool {
	return p.Stored.Obj.Status.Record == "" && record.Empty()
}
