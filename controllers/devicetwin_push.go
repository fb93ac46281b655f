package controllers

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

const (
	// maxAttempts bounds how often one visit plans again because somebody else
	// wrote in between.
	maxAttempts = 4
	// maxRecord leaves room below the schema's bound of status.record.
	maxRecord = 240 << 10
)

// push brings one twin to its declaration: read, plan, record, write on the
// condition of the etag that was read.
type push struct {
	stored     *stored
	session    hub.Session
	flights    *flights
	contention *contention
	obj        *v1alpha1.DeviceTwin
	declared   twin.Document
	policies   twin.Policies
	id         hub.ID
	owner      *v1alpha1.OwnerTag
	registrar  *registrar
	target     twin.Target
	turn       *turn
	// admit says whether the hub may be changed now.
	admit func() error

	done done
}

// done is what a push did, and what it left.
type done struct {
	changed    twin.Differences
	leftBehind twin.Paths
	// recreated tells that the twin is another one than before.
	recreated bool
	// plan is the last one made for the twin as it was seen last.
	plan twin.Plan
	// pending is what is not done, and why.
	pending twin.Plan
	// unsettled tells that the record still holds more than the truth: a write may
	// be on its way to the hub.
	unsettled bool
}

// run returns the twin as last seen, also with most errors.
func (p *push) run(ctx context.Context) (*hub.Twin, error) {
	held, err := p.attempts(ctx)
	if held != nil && (err != nil || p.done.plan.Withheld) {
		p.done.pending = twin.Pending(p.input(ctx, held))
	}
	return held, err
}

func (p *push) attempts(ctx context.Context) (*hub.Twin, error) {
	var held *hub.Twin
	for attempt := range maxAttempts {
		var err error
		if held, err = p.read(ctx); err != nil {
			return nil, err
		}
		if err := foreign(held, p.owner, recordOf(ctx, p.obj, p.target)); err != nil {
			return held, err
		}
		after, err := p.once(ctx, held, attempt > 0)
		switch {
		case errors.Is(err, errReplan):
			continue
		case after != nil:
			held = after
		}
		return held, err
	}
	return held, outcome.Differ(outcome.Transient, v1alpha1.ReasonContended,
		fmt.Sprintf("somebody else changed the twin under each of %d attempts", maxAttempts))
}

// read reads the twin, of a device that is registered first if it has to be.
func (p *push) read(ctx context.Context) (*hub.Twin, error) {
	held, err := p.session.GetTwin(p.turn.with(ctx), p.id)
	if p.obj.Spec.Registration == v1alpha1.RegistrationCreate {
		switch {
		case err == nil:
			err = p.registrar.found(ctx)
		case hub.ReasonOf(err) == hub.ReasonDeviceNotFound:
			if err = p.register(ctx); err == nil {
				held, err = p.session.GetTwin(p.turn.with(ctx), p.id)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	p.done.recreated = p.done.recreated || wentBack(p.obj.Status.ETag, held.ETag)
	return held, nil
}

func (p *push) register(ctx context.Context) error {
	if err := p.admit(); err != nil {
		return err
	}
	err := p.registrar.register(ctx)
	if hub.OutcomeUnknown(err) {
		p.flights.lost(p.obj.UID)
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

// errReplan says that the twin is not what was planned for.
var errReplan = errors.New("the twin changed since it was read")

func (p *push) input(ctx context.Context, held *hub.Twin) twin.Input {
	return twin.Input{
		Declared: p.declared, Record: recordOf(ctx, p.obj, p.target), Policies: p.policies,
		Observed: twin.Document{Tags: held.Tags, Desired: held.Desired},
	}
}

// once plans for a twin as it was read and carries the plan out. It returns the
// twin as it is afterwards, nil if that is not known better than before. again tells
// that an earlier attempt found the twin changed.
func (p *push) once(ctx context.Context, held *hub.Twin, again bool) (*hub.Twin, error) {
	in := p.input(ctx, held)
	in.Postponed = p.contention.postponed(p.obj.UID)
	plan := twin.Make(in)
	p.done.plan = plan
	p.contention.waits(p.obj.UID, plan.Postponed, held.DesiredStamps)
	if plan.Patch.Empty() {
		return held, p.settle(plan, p.flights.landed(p.obj.UID))
	}
	if err := p.admitted(again); err != nil {
		return held, err
	}
	if err := p.record(plan.Record); err != nil {
		return nil, err
	}
	if err := p.stored.writeAhead(ctx); err != nil {
		return nil, err
	}
	after, err := p.session.PatchTwin(p.turn.with(ctx), p.id, held.ETag, hub.Patch(plan.Patch))
	if err != nil {
		return nil, p.failed(err)
	}
	p.done.changed = append(p.done.changed, plan.Changed...)
	p.contention.restored(p.obj.UID, plan.Changed.Drifted(), held.DesiredStamps)
	now := twin.Document{Tags: after.Tags, Desired: after.Desired}
	if after.DeviceETag != held.DeviceETag || !twin.EqualBeside(now, twin.Apply(in.Observed, plan.Patch), plan.Patch) {
		// Another device of the same id, whose etag happened to be the same.
		return nil, errReplan
	}
	// The etag has moved: no older write of ours can be accepted any more.
	in.Record, in.Observed = plan.Record, now
	next := twin.Make(in)
	p.done.plan = next
	if !next.Patch.Empty() {
		p.contention.respelled(p.obj.UID, next.Changed)
		return after, notConverging(next.Changed)
	}
	return after, p.settle(next, p.flights.known(p.obj.UID))
}

// admitted tells whether the hub may be changed now. A first attempt asks for a turn to
// write, if it has none yet; a later one holds its turn, and waits for its change.
func (p *push) admitted(again bool) error {
	if err := p.admit(); err != nil || again {
		return err
	}
	return p.turn.toWrite()
}

// failed notes a write whose outcome is not known.
func (p *push) failed(err error) error {
	if hub.ReasonOf(err) == hub.ReasonPreconditionFailed {
		return errReplan
	}
	if hub.OutcomeUnknown(err) {
		p.flights.lost(p.obj.UID)
	}
	return err
}

// settle shrinks the record to the truth once nothing of ours can be on its way
// to the hub any more, and reports conflicts. It is written with the status.
func (p *push) settle(plan twin.Plan, landed bool) error {
	if err := p.record(p.standing(plan, landed)); err != nil {
		return err
	}
	if landed {
		p.done.leftBehind = plan.LeftBehind // the record has let go of them: said once
	}
	return p.blocked(plan)
}

// standing is the record that a plan leaves: the truth once nothing of ours can still
// arrive at the hub, and until then whatever we may have written as well.
func (p *push) standing(plan twin.Plan, landed bool) twin.Record {
	if landed {
		p.done.unsettled = false
		return plan.Settled
	}
	p.done.unsettled = !plan.Record.Equal(plan.Settled)
	return plan.Record
}

// holds tells whether a twin, as the hub's index shows it, leaves nothing to do: no
// write, no news for the record, nothing that is in the way of the declaration.
func (p *push) holds(ctx context.Context, held *hub.Twin) bool {
	if foreign(held, p.owner, recordOf(ctx, p.obj, p.target)) != nil || wentBack(p.obj.Status.ETag, held.ETag) {
		return false
	}
	in := p.input(ctx, held)
	in.Postponed = p.contention.postponed(p.obj.UID)
	plan := twin.Make(in)
	record := p.standing(plan, p.flights.landed(p.obj.UID))
	text, err := record.Encode()
	if err != nil || !plan.Patch.Empty() || len(plan.Conflicts) > 0 || len(plan.Postponed) > 0 {
		return false
	}
	if !p.nothingOwned(record) && p.obj.Status.Record != text {
		return false
	}
	p.done.plan = plan
	if plan.Withheld {
		p.done.pending = twin.Pending(in)
	}
	return true
}

// blocked says what of the declaration cannot be on the hub for now.
func (p *push) blocked(plan twin.Plan) error {
	if len(plan.Conflicts) > 0 {
		conflicts := make([]string, len(plan.Conflicts))
		for i, conflict := range plan.Conflicts {
			conflicts[i] = conflict.String()
		}
		return outcome.Differ(outcome.Stalled, v1alpha1.ReasonConflict, strings.Join(conflicts, "; ")+
			". Remove one or the other; the rest of the declaration is kept in step")
	}
	if kept := p.contention.notKept(p.obj.UID, plan.Postponed); len(kept) > 0 {
		return notConverging(kept)
	}
	if len(plan.Postponed) > 0 {
		fought := p.contention.contended(p.obj.UID)
		return outcome.AsError(outcome.Outcome{
			Class: outcome.Transient, Reason: v1alpha1.ReasonContended, Differs: true, RetryAfter: fought.wait,
			Message: "somebody else keeps changing " + fought.shown + "; it is restored ever more slowly. " + fought.advice(),
		})
	}
	return nil
}

func notConverging(differs twin.Differences) error {
	return outcome.Differ(outcome.Stalled, v1alpha1.ReasonNotConverging, "the hub took the change and holds another value: "+differs.String()+
		". Declare it as the hub spells it; it is written again once an hour at most")
}

// recordOf is the ownership record of an object as it counts for a twin.
func recordOf(ctx context.Context, obj *v1alpha1.DeviceTwin, target twin.Target) twin.Record {
	record, err := twin.DecodeRecord(obj.Status.Record)
	if err != nil {
		log.FromContext(ctx).Error(err, "starting a new ownership record: leaves that are not declared now stay on the hub")
	}
	record.Target.Host = hub.ClassicName(record.Target.Host)
	return record.For(target)
}

// record puts a record into the status, if there is or was anything to record.
func (p *push) record(record twin.Record) error {
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
	p.obj.Status.Record = text
	return nil
}

// nothingOwned tells whether there is nothing to record, and never was.
func (p *push) nothingOwned(record twin.Record) bool {
	return p.obj.Status.Record == "" && record.Empty()
}
