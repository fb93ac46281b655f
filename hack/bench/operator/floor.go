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

// payload is what the manager wrote of an object.
type payload v1alpha1.DeviceTwinStatus

// The sets of the floors: what a bare loop takes for the same calls, all four, and the
// two that no operator could do without.
const (
	fourSet = "four"
	twoSet  = "two"
)

// startFloorHub starts the hub for both floors, which no manager looks at.
func startFloorHub(ctx context.Context, r *run) error {
	n := atFloor(r.out)
	return r.env.addHub(ctx, "hub", unthrottled, map[string]int{fourSet: n, twoSet: n})
}

// floor measures how long a loop takes with the objects of a set, as many at a time as the
// manager may have in flight.
func (m *convergence) floor(seconds *[]float64, set string, short bool) action {
	return func(ctx context.Context, r *run) error {
		n := atFloor(r.out)
		objects, err := r.env.create(ctx, r.hub(), set, 1, n)
		if err != nil {
			return err
		}
		loop := floorLoop{kube: r.env.kube, hub: r.hub(), status: m.status, short: short}
		began := time.Now()
		err = r.parallel(ctx, "the floor", r.opts.inFlight(), n, func(ctx context.Context, i int) error {
			return loop.do(ctx, objects[i], i+1)
		})
		r.sample(seconds, "the floor", time.Since(began).Seconds()*float64(r.out.N)/float64(n), "s")
		return err
	}
}

// floorLoop does the calls that bring one object to the hub.
type floorLoop struct {
	kube   client.Client
	hub    *hub
	status payload
	short  bool
}

func (l floorLoop) do(ctx context.Context, object *v1alpha1.DeviceTwin, i int) error {
	etag := "*"
	if !l.short {
		read, err := l.exchange(ctx, http.MethodGet, "*", object.Name, nil)
		if err != nil {
			return err
		}
		etag = `"` + read + `"`
		if err := l.patch(ctx, object, map[string]string{"record": l.status.Record}); err != nil {
			return err
		}
	}
	if _, err := l.exchange(ctx, http.MethodPatch, etag, object.Name, twinPatch(i)); err != nil {
		return err
	}
	return l.patch(ctx, object, l.status)
}

// exchange calls the hub and takes the etag from the twin that it answers with.
func (l floorLoop) exchange(ctx context.Context, method, etag, id string, body []byte) (string, error) {
	var answer bytes.Buffer
	if _, err := l.hub.SendIf(ctx, etag, method, twinPath(id), body, &answer); err != nil {
		return "", err
	}
	var twin struct {
		ETag string `json:"etag"`
	}
	err := json.Unmarshal(answer.Bytes(), &twin)
	return twin.ETag, err
}

// patch writes to the status of the object on the condition of its version.
func (l floorLoop) patch(ctx context.Context, object *v1alpha1.DeviceTwin, status any) error {
	text, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": object.ResourceVersion}, "status": status,
	})
	if err != nil {
		return err
	}
	return l.kube.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, text))
}
