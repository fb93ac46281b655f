package twinrequest

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// notCreated is the UID of a DeviceTwin that does not exist yet. It sorts behind all others:
// of several that want one twin, one that is still to come is the last.
const notCreated types.UID = "not created"

// plan says what a DeviceTwin would write.
func (a *Answers) plan(ctx context.Context, obj *v1alpha1.TwinRequest, acquire Acquire) (*v1alpha1.TwinRequestPlanned, error) {
	declared, errs := validation.TwinRequestPlan(obj.Spec.Plan)
	if len(errs) > 0 {
		return nil, invalid(validation.Text(errs))
	}
	planned, err := a.applied(ctx, obj)
	if err != nil {
		return nil, err
	}
	if planned.Spec.Suspend {
		return nothing(v1alpha1.ReasonSuspended, "spec.suspend is true: the twin is neither read nor written"), nil
	}
	found, err := a.Hubs.Resolve(ctx, planned.Namespace, planned.Spec.HubRef)
	if err != nil {
		return nil, err
	}
	if err := found.Scope.Admit(planned.Spec.DeviceID); err != nil {
		return nil, err
	}
	if claim.Writes(planned) {
		if errs := validation.WithOwner(&declared, found.Spec.OwnerTag); len(errs) > 0 {
			return nil, invalid(validation.Text(errs))
		}
	}
	if claim.Wanted(planned) {
		err := a.Claims.Check(ctx, planned, found.Session.Host())
		if out := outcome.Of(err); out.Effects().KeptElsewhere {
			return nothing(out.Reason, out.Message), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return a.preview(ctx, planned, declared, found, acquire)
}

// applied is the DeviceTwin of a plan as it would be: with what it wrote before, if it is
// there.
func (a *Answers) applied(ctx context.Context, obj *v1alpha1.TwinRequest) (*v1alpha1.DeviceTwin, error) {
	asked := obj.Spec.Plan
	planned := &v1alpha1.DeviceTwin{}
	err := a.Reader.Get(ctx, types.NamespacedName{Namespace: obj.Namespace, Name: asked.Name}, planned)
	switch {
	case apierrors.IsNotFound(err):
		planned = &v1alpha1.DeviceTwin{}
		planned.Namespace, planned.Name, planned.UID = obj.Namespace, asked.Name, notCreated
	case err != nil:
		return nil, fmt.Errorf("reading DeviceTwin %q: %w", asked.Name, err)
	case !a.Shard.Holds(planned):
		return nil, outcome.Stall(v1alpha1.ReasonHubOutsideShard, fmt.Sprintf(
			"DeviceTwin %q is not of the shard of this request, whose manager keeps what has the labels %s: give the request the labels of that DeviceTwin", asked.Name, a.Shard))
	case planned.Spec.HubRef != asked.Spec.HubRef || fieldindex.IDOf(planned) != (hub.ID{Device: asked.Spec.DeviceID, Module: asked.Spec.ModuleID}):
		return nil, invalid(fmt.Sprintf("DeviceTwin %q exists for another hub, device or module, which are immutable: delete it, or give this one another name", asked.Name))
	}
	planned.Spec = *asked.Spec.DeepCopy()
	return planned, nil
}

// preview reads the twin and says what would be written to it.
func (a *Answers) preview(
	ctx context.Context, planned *v1alpha1.DeviceTwin, declared validation.Declaration, found hubaccess.Hub, acquire Acquire,
) (*v1alpha1.TwinRequestPlanned, error) {
	permit, err := acquire(found.Session, dispatch.ReadNeed)
	if err != nil {
		return nil, err
	}
	defer permit.Done()
	sync := twinsync.Sync{
		Writer: twinsync.Writer{
			Stored: outcome.NewStored(nil, nil, planned), Session: found.Session, ID: fieldindex.IDOf(planned),
			Target: fieldindex.TargetOf(planned, found.Session.Host()), Owner: found.Spec.OwnerTag,
		},
		Declared: declared.Document, Policies: declared.Policies, Contention: a.Contention,
	}
	held, plan, err := sync.Preview(dispatch.With(ctx, permit))
	registers := held == nil && hub.ReasonOf(err) == hub.ReasonDeviceNotFound && wouldRegister(planned)
	out := outcome.Of(err)
	switch {
	case registers:
		held = &hub.Twin{ID: fieldindex.IDOf(planned)}
	case out.Effects().DeviceGone || out.Reason == v1alpha1.ReasonOwnedElsewhere:
		return nothing(out.Reason, out.Message), nil
	case err != nil:
		return nil, err
	}
	answer, err := describe(held, plan, found)
	if err != nil {
		return nil, err
	}
	answer.Registers = registers
	return answer, a.stopped(ctx, answer, found)
}

// wouldRegister tells whether a device that the hub does not know is registered for an object.
func wouldRegister(obj *v1alpha1.DeviceTwin) bool {
	note := obj.Status.Registration
	return obj.Spec.Registration == v1alpha1.RegistrationCreate && (note == nil || note.GenerationID == "")
}

// stopped takes the patch out of an answer for a hub that may not be changed now.
func (a *Answers) stopped(ctx context.Context, answer *v1alpha1.TwinRequestPlanned, found hubaccess.Hub) error {
	conn, err := a.Hubs.Read(ctx, found.Key)
	if err != nil {
		return fmt.Errorf("reading HubConnection %s: %w", found.Key, err)
	}
	var reason, why string
	switch guard := conn.Status.Guard; {
	case answer.Patch == nil && !answer.Registers:
		return nil
	case found.Spec.Mode == v1alpha1.ModeReadOnly:
		reason, why = v1alpha1.ReasonHubReadOnly, "the mode of HubConnection %s is ReadOnly"
	case guard != nil && guard.TrippedAt != nil:
		reason, why = v1alpha1.ReasonHubPaused, "the guard of HubConnection %s has stopped all changes"
	default:
		return nil
	}
	answer.Patch, answer.Messages, answer.Registers = nil, 0, false
	answer.Reason, answer.Message = reason, fmt.Sprintf(why, found.Key)
	for i := range answer.Leaves {
		if answer.Leaves[i].Withheld == "" {
			answer.Leaves[i].Withheld = reason
		}
	}
	return nil
}

// nothing is the answer where the hub would not be written to at all.
func nothing(reason, message string) *v1alpha1.TwinRequestPlanned {
	return &v1alpha1.TwinRequestPlanned{Reason: reason, Message: outcome.Bounded(message)}
}

func invalid(message string) error {
	return outcome.Stall(v1alpha1.ReasonInvalidTwin, message+". The hub was not asked")
}
