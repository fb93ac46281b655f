package twinrequest

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// maxAnswer bounds an answer, in bytes of JSON: etcd takes 1.5 MB for an object by default.
const maxAnswer = 700 << 10

// Hubs say which hub an object may use.
type Hubs interface {
	Resolve(ctx context.Context, namespace string, ref v1alpha1.HubReference) (hubaccess.Hub, error)
	Read(ctx context.Context, key types.NamespacedName) (*v1alpha1.HubConnection, error)
}

// Claims say whether another DeviceTwin keeps a twin.
type Claims interface {
	Check(ctx context.Context, obj *v1alpha1.DeviceTwin, host string) error
}

// Acquire returns a permit at the hub of a session, or an error to wait by.
type Acquire func(session hub.Session, need dispatch.Need) (*dispatch.Permit, error)

// Answers are found for TwinRequests.
type Answers struct {
	Hubs   Hubs
	Claims Claims
	// Reader of DeviceTwins is not cached: what was applied right before counts.
	Reader     client.Reader
	Shard      shard.Shard
	Contention *twinsync.Contention
}

// Find answers a request: it fills in what the status says beside conditions. An error
// leaves the status as it is.
func (a *Answers) Find(ctx context.Context, obj *v1alpha1.TwinRequest, acquire Acquire) error {
	var found v1alpha1.TwinRequestStatus
	var err error
	if obj.Spec.Plan != nil {
		found.Plan, err = a.plan(ctx, obj, acquire)
	} else {
		found.Query, err = a.query(ctx, obj, acquire)
	}
	if err != nil {
		return err
	}
	if text, err := json.Marshal(found); err != nil || len(text) > maxAnswer {
		return tooLarge(err)
	}
	obj.Status.Query, obj.Status.Plan = found.Query, found.Plan
	return nil
}

// tooLarge is for an answer that does not fit; cause may be nil.
func tooLarge(cause error) error {
	return outcome.AsError(outcome.Outcome{
		Class: outcome.Stalled, Reason: v1alpha1.ReasonAnswerTooLarge, Err: cause,
		Message: fmt.Sprintf("the answer does not fit into %d bytes, and nothing of it is here: ask for fewer twins with pageSize, or for less of each with select", maxAnswer),
	})
}

// messages is how many the hub bills for a payload.
func messages(spec v1alpha1.HubConnectionSpec, bytes int) (int64, error) {
	limits, err := dispatch.Tier{SKU: string(spec.Tier.SKU), Units: int(spec.Tier.Units)}.Limits()
	if err != nil {
		return 0, fmt.Errorf("spec.tier of the HubConnection: %w", err) // the schema lets none through
	}
	return limits.Messages(bytes), nil
}
