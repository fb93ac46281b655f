package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// The sets of the floors: what a bare loop takes for the same calls, all four, and the
// two that no operator could do without.
const (
	fourSet = "four"
	twoSet  = "two"
)

// floor measures how long a loop takes with the objects of a set, as many at a time as the
// manager may have in flight.
func (m *convergence) floor(seconds *[]float64, set string, bring func(context.Context, *run, *v1alpha1.DeviceTwin, int) error) action {
	return func(ctx context.Context, r *run) error {
		n := atFloor(r.out)
		objects, err := r.env.create(ctx, r.hub(), set, 1, n)
		if err != nil {
			return err
		}
		began := time.Now()
		err = r.parallel(ctx, "the floor", r.opts.inFlight(), n, func(ctx context.Context, i int) error {
			return bring(ctx, r, objects[i], i+1)
		})
		r.sample(seconds, "the floor", time.Since(began).Seconds()*float64(r.out.N)/float64(n), "s")
		return err
	}
}

// fourCalls bring one object to the hub as the manager does.
func (m *convergence) fourCalls(ctx context.Context, r *run, object *v1alpha1.DeviceTwin, i int) error {
	etag, err := r.hub().exchange(ctx, http.MethodGet, "*", object.Name, nil)
	if err != nil {
		return err
	}
	if err := r.env.patchStatus(ctx, object, map[string]string{"record": m.status.Record}); err != nil {
		return err
	}
	return m.patch(ctx, r, `"`+etag+`"`, object, i)
}

// twoCalls neither read the twin nor record what will be written.
func (m *convergence) twoCalls(ctx context.Context, r *run, object *v1alpha1.DeviceTwin, i int) error {
	return m.patch(ctx, r, "*", object, i)
}

func (m *convergence) patch(ctx context.Context, r *run, etag string, object *v1alpha1.DeviceTwin, i int) error {
	if _, err := r.hub().exchange(ctx, http.MethodPatch, etag, object.Name, twinPatch(i)); err != nil {
		return err
	}
	return r.env.patchStatus(ctx, object, m.status)
}

// exchange calls the hub and takes the etag from the twin that it answers with.
func (h *hub) exchange(ctx context.Context, method, etag, id string, body []byte) (string, error) {
	var answer bytes.Buffer
	if _, err := h.SendIf(ctx, etag, method, twinPath(id), body, &answer); err != nil {
		return "", err
	}
	var twin struct {
		ETag string `json:"etag"`
	}
	err := json.Unmarshal(answer.Bytes(), &twin)
	return twin.ETag, err
}

// patchStatus writes to the status of the object on the condition of its version.
func (e *environment) patchStatus(ctx context.Context, object *v1alpha1.DeviceTwin, status any) error {
	text, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": object.ResourceVersion}, "status": status,
	})
	if err != nil {
		return err
	}
	return e.kube.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, text))
}
