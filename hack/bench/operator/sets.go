package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// The devices of DeviceTwinSets, which carry a tag that the sets select them by: those of a
// large set, of a small one, and those that the floor writes.
const (
	lineDevices = "line"
	cellDevices = "cell"
	bareDevices = "bare"
)

// setInFlight is how many devices a set writes at once, and so does its floor.
const setInFlight = 16

// setTags are those of a device of a set before anything is written.
func setTags(devices string) map[string]any {
	return map[string]any{"location": map[string]any{"plant": devices}, "ring": "r{{n}}"}
}

// selects is the condition that selects the devices of a kind.
func selects(devices string) string { return fmt.Sprintf("tags.location.plant = '%s'", devices) }

// setTemplate is what each device of a set is to hold. No two sets declare the same leaves, so that none has to ask
// what another one selects.
func setTemplate(devices string) (tags, desired map[string]any) {
	return map[string]any{"firmwareRing-" + devices: "stable"},
		map[string]any{"telemetryInterval-" + devices: 30, "log-" + devices: map[string]any{"level": "info", "days": 14}}
}

// mostDevices is what every set here is meant to select at most.
const mostDevices = 1_000_000

// twinSet declares one template for all devices of a kind.
func twinSet(hub, devices string) *v1alpha1.DeviceTwinSet {
	tags, desired := setTemplate(devices)
	set := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: devices}}
	set.Spec = v1alpha1.DeviceTwinSetSpec{
		HubRef: v1alpha1.HubReference{Name: hub}, Selector: v1alpha1.SetSelector{Where: selects(devices)},
		MaxDevices: mostDevices, Template: v1alpha1.SetTemplate{Tags: document(tags), Desired: document(desired)},
		RevisionHistoryLimit: ptr.To[int32](10),
	}
	set.Spec.Rollout.Success.From = v1alpha1.SuccessFromWritten
	return set
}

// roll is one rollout of a set as it was seen.
type roll struct {
	began, last time.Time
	// calls are what the hub was sent meanwhile, writes those to the API server.
	calls  calls
	writes int
}

// took is the time until the last device was written, and for each a PATCH.
func (o roll) took() time.Duration { return o.last.Sub(o.began) }

// rollout creates a set, and waits until each of its devices was written. seen is called with each look, and may end
// the wait with an error.
func (r *run) rollout(ctx context.Context, devices string, n int, seen func(patched int) error) (o roll, err error) {
	before, err := r.env.count(ctx)
	if err != nil {
		return o, err
	}
	o.began = time.Now()
	if err := r.env.kube.Create(ctx, twinSet(r.hub().name, devices)); err != nil {
		return o, err
	}
	if err := r.await(ctx, "devices are written", convergeLimit(n), 50*time.Millisecond, func() (string, bool, error) {
		o.last = time.Now()
		made, err := r.hub().calls(ctx)
		if err != nil {
			return "", false, err
		}
		patched := made.patch - before.calls.patch
		return fmt.Sprintf("%d of %d", patched, n), patched >= n, seen(patched)
	}); err != nil {
		return o, err
	}
	return o, r.rolled(ctx, &o, before)
}

// rolled notes what a rollout that has just come to its end has taken.
func (r *run) rolled(ctx context.Context, o *roll, before observation) error {
	after, err := r.env.count(ctx)
	o.calls, o.writes = after.calls.since(before.calls), after.writes-before.writes
	return err
}

// awaitComplete waits until a set says that all devices hold its revision.
func (r *run) awaitComplete(ctx context.Context, devices string, n int) error {
	return r.await(ctx, "the set is complete", convergeLimit(n), 100*time.Millisecond, func() (string, bool, error) {
		var set v1alpha1.DeviceTwinSet
		err := r.env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: devices}, &set)
		seen := fmt.Sprintf("phase %s, %d of %d", set.Status.Phase, set.Status.Counts.Written, n)
		return seen, set.Status.Phase == v1alpha1.SetComplete && set.Status.Counts.Written == int64(n), err
	})
}

// nothingElse is for a rollout at which nothing is looked at.
func nothingElse(int) error { return nil }

// bareLoop writes what a set would, with nothing around it: one query page for each hundred ids, and one
// conditional PATCH for each device, as many at a time as a set has.
func (r *run) bareLoop(ctx context.Context, h *hub, devices string) (time.Duration, error) {
	tags, desired := setTemplate(devices)
	tags[v1alpha1.SetMarkerTag] = map[string]any{namespace + "_" + devices: map[string]any{"revision": "0123456789", "wave": "rest"}}
	patch := document(map[string]any{"tags": tags, "properties": map[string]any{"desired": desired}}).Raw
	query := fmt.Sprintf("SELECT deviceId, etag FROM devices WHERE %s AND NOT IS_DEFINED(tags.%s.%s_%s.revision)",
		selects(devices), v1alpha1.SetMarkerTag, namespace, devices)
	began := time.Now()
	writing, inner := errgroup.WithContext(ctx)
	writing.SetLimit(setInFlight)
	for from := ""; ; {
		var page bytes.Buffer
		next, err := h.Page(inner, query, from, &page)
		if err != nil {
			return 0, fmt.Errorf("a page of the floor: %w", err)
		}
		var rows []struct {
			ID   string `json:"deviceId"`
			ETag string `json:"etag"`
		}
		if err := json.Unmarshal(page.Bytes(), &rows); err != nil {
			return 0, err
		}
		for _, row := range rows {
			writing.Go(func() error {
				_, err := h.exchange(inner, http.MethodPatch, `"`+row.ETag+`"`, row.ID, patch)
				return err
			})
		}
		if from = next; next == "" {
			return time.Since(began), writing.Wait()
		}
	}
}
