package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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
	_, err := r.env.addHub(ctx, "hub", unthrottled, map[string]int{fourSet: n, twoSet: n})
	return err
}

// floor works on the objects of a set, as many at a time as the manager may.
func (e *environment) floor(ctx context.Context, set string, n int, status payload, short bool) (time.Duration, error) {
	h := e.hubs[0]
	objects, err := e.create(ctx, h, set, 1, n)
	if err != nil {
		return 0, err
	}
	loop := floorLoop{kube: e.kube, hub: h, status: status, short: short}
	began := time.Now()
	err = e.parallel(ctx, "the floor", e.opts.inFlight(), n, func(ctx context.Context, i int) error {
		return loop.do(ctx, objects[i], i+1)
	})
	return time.Since(began), err
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
		var err error
		if etag, err = l.read(ctx, object); err != nil {
			return err
		}
	}
	patch, err := json.Marshal(map[string]any{"tags": tags(i), "properties": map[string]any{"desired": desired(i)}})
	if err != nil {
		return err
	}
	var answer bytes.Buffer
	if _, err := l.hub.SendIf(ctx, etag, http.MethodPatch, twinPath(object.Name), patch, &answer); err != nil {
		return err
	}
	var written struct {
		ETag string `json:"etag"`
	}
	if err := json.Unmarshal(answer.Bytes(), &written); err != nil {
		return err
	}
	return l.patch(ctx, object, l.status)
}

// read gets the twin and records what will be written.
func (l floorLoop) read(ctx context.Context, object *v1alpha1.DeviceTwin) (etag string, err error) {
	var answer bytes.Buffer
	if _, err := l.hub.SendTo(ctx, http.MethodGet, twinPath(object.Name), nil, io.Writer(&answer)); err != nil {
		return "", err
	}
	var twin struct {
		ETag string `json:"etag"`
	}
	if err := json.Unmarshal(answer.Bytes(), &twin); err != nil {
		return "", err
	}
	return `"` + twin.ETag + `"`, l.patch(ctx, object, map[string]string{"record": l.status.Record})
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
