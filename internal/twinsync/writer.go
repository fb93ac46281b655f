package twinsync

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// maxAttempts bounds how often one reconcile plans again because another writer wrote in
// between.
const maxAttempts = 4

// Session is what a Writer asks a hub.
type Session interface {
	GetTwin(ctx context.Context, id hub.ID) (*hub.Twin, error)
	PatchTwin(ctx context.Context, id hub.ID, etag string, patch hub.Patch) (*hub.Twin, error)
}

// Writer changes one twin, on the condition that it is the one that was read.
type Writer struct {
	Stored   *outcome.Stored
	Session  Session
	InFlight *InFlight
	ID       hub.ID
	Target   twin.Target
	// Owner is the owner tag of the hub, nil for none.
	Owner *v1alpha1.OwnerTag
	// Admit says whether the hub may be changed now.
	Admit func() error
	// Wrote is called after each change that the hub accepted.
	Wrote func(ctx context.Context, change Change)
}

// Change is what the hub accepted: the etag that this was for, the twin since, and what was sent.
type Change struct {
	Before string
	After  *hub.Twin
	// Held is what the hub held before, and Patch what was sent.
	Held, Patch twin.Document
}

// ErrReplan says that the twin is not what was planned for.
var ErrReplan = errors.New("the twin changed since it was read")

// attempt is a twin that was read to be changed, with the ownership record that counts for it.
type attempt struct {
	held   *hub.Twin
	record twin.Record
	// again tells that an earlier attempt found the twin changed.
	again bool
}

// Attempts reads a twin, and has it planned and written once, until no other writer changed
// it in between. It is the one place where a failed condition (412) leads to another try:
// once returns ErrReplan then. It returns the twin as last seen, also with most errors.
func Attempts(
	ctx context.Context, read func(context.Context) (*hub.Twin, error),
	once func(ctx context.Context, held *hub.Twin, again bool) (after *hub.Twin, err error),
) (*hub.Twin, error) {
	var held *hub.Twin
	for n := range maxAttempts {
		var err error
		if held, err = read(ctx); err != nil {
			return nil, err
		}
		after, err := once(ctx, held, n > 0)
		switch {
		case errors.Is(err, ErrReplan):
			continue
		case after != nil:
			held = after
		}
		return held, err
	}
	return held, outcome.Differ(outcome.Transient, v1alpha1.ReasonContended,
		fmt.Sprintf("another writer changed the twin under each of %d attempts", maxAttempts))
}

// attempts are those of a writer, for a twin that no other owner's tag is on.
func (w *Writer) attempts(
	ctx context.Context, read func(context.Context) (*hub.Twin, error),
	once func(ctx context.Context, on attempt) (after *hub.Twin, err error),
) (*hub.Twin, error) {
	return Attempts(ctx, read, func(ctx context.Context, held *hub.Twin, again bool) (*hub.Twin, error) {
		record := w.recorded(ctx)
		if err := Foreign(held, w.Owner, record); err != nil {
			return held, err
		}
		return once(ctx, attempt{held: held, record: record, again: again})
	})
}

// write stores the record of what is written, and writes: ErrReplan tells that the twin is
// another one by now. The answer may be of another device, whose etag happened to be the same.
func (w *Writer) write(ctx context.Context, held *hub.Twin, patch twin.Document) (*hub.Twin, error) {
	if err := w.Stored.WriteAhead(ctx); err != nil {
		return nil, err
	}
	after, err := w.Session.PatchTwin(ctx, w.ID, held.ETag, hub.Patch(patch))
	switch {
	case hub.ReasonOf(err) == hub.ReasonPreconditionFailed:
		return nil, ErrReplan
	case hub.OutcomeUnknown(err):
		w.InFlight.Lost(w.Stored.Obj.UID)
		return nil, err
	case err != nil:
		return nil, err
	}
	w.Wrote(ctx, ChangeOf(held, patch, after))
	return after, nil
}

// ChangeOf is what a patch that the hub accepted changed of a twin.
func ChangeOf(held *hub.Twin, patch twin.Document, after *hub.Twin) Change {
	return Change{
		Before: held.ETag, After: after,
		Held: twin.Document{Tags: held.Tags, Desired: held.Desired}, Patch: patch,
	}
}

// Leaves are those that were written or deleted.
func (c Change) Leaves() Leaves { return Leaves{c.Patch} }

// Leaves are the leaves of a patch. They are listed once they are shown, which most log lines of a rollout never are.
type Leaves struct{ of twin.Document }

// String lists them as twin.Paths does.
func (l Leaves) String() string {
	var paths twin.Paths
	for path := range l.of.Leaves() {
		paths = append(paths, path)
	}
	return paths.String()
}

// recorded is the ownership record of the object as it counts for the twin.
func (w *Writer) recorded(ctx context.Context) twin.Record {
	record, err := twin.DecodeRecord(w.Stored.Obj.Status.Record)
	if err != nil {
		log.FromContext(ctx).Error(err, "starting a new ownership record: leaves that are not declared now stay on the hub")
	}
	record.Target.Host = hub.ClassicName(record.Target.Host)
	return record.For(w.Target)
}
