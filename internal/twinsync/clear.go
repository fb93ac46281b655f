package twinsync

import (
	"context"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// Clear deletes what was written to a twin for an object that goes.
type Clear struct {
	Writer

	// Spared is what stays, since another object takes it over.
	Spared twin.Document
}

// Run deletes the leaves that hold a value of ours, and returns what stays on the hub. The
// context carries a permit to write.
func (c *Clear) Run(ctx context.Context) (left string, err error) {
	_, err = c.attempts(ctx, c.read, func(ctx context.Context, on attempt) (*hub.Twin, error) {
		var failed error
		left, failed = c.once(ctx, on)
		return nil, failed
	})
	if hub.ReasonOf(err) == hub.ReasonDeviceNotFound {
		return "", nil
	}
	return left, err
}

func (c *Clear) read(ctx context.Context) (*hub.Twin, error) { return c.Session.GetTwin(ctx, c.ID) }

func (c *Clear) once(ctx context.Context, on attempt) (left string, err error) {
	held := on.held
	plan := twin.Make(twin.Input{
		Record: on.record, Observed: twin.Document{Tags: held.Tags, Desired: held.Desired}, Spared: c.Spared,
	})
	if plan.Patch.Empty() {
		return leftOn(plan, unrecorded(c.Stored.Obj, held)), c.InFlight.Await(c.Stored.Obj, on.record.Empty())
	}
	if err := c.Admit(); err != nil {
		return "", err
	}
	after, err := c.write(ctx, held, plan.Patch)
	switch {
	case err != nil:
		return "", err
	case after.DeviceETag != held.DeviceETag:
		return "", ErrReplan // another device of the same id
	}
	return leftOn(plan, ""), nil
}

func leftOn(plan twin.Plan, unrecorded string) string {
	if len(plan.LeftBehind) == 0 {
		return unrecorded
	}
	return "the hub holds values of another writer: " + plan.LeftBehind.String()
}

// unrecorded says what stays on the hub since no record tells who wrote it. Without a
// record there may be nothing to clear; it is not known.
func unrecorded(obj *v1alpha1.DeviceTwin, held *hub.Twin) string {
	if _, err := twin.DecodeRecord(obj.Status.Record); err == nil && obj.Status.Record != "" {
		return ""
	}
	declared, errs := validation.DeviceTwin(obj)
	if len(errs) > 0 {
		return ""
	}
	shared := twin.Shared(declared.Document, twin.Document{Tags: held.Tags, Desired: held.Desired}, declared.Policies)
	if len(shared) == 0 {
		return ""
	}
	return "the record of what this object wrote is gone (status.record), so that nothing was cleared, and the hub holds what it declares: " + shared.String()
}
