package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// floors are what a bare loop takes for the same calls: all four, and the two that
// no operator could do without.
type floors struct{ four, two time.Duration }

// The sets of the floors.
const (
	fourSet = "four"
	twoSet  = "two"
)

// floors measures on a fresh cluster without a manager: first the four calls, then,
// with those objects there, the two.
func (b *bench) floors(ctx context.Context, n int, p payload) (out floors, err error) {
	d, ctx, err := b.newBed(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	h, err := d.addHub(ctx, "hub", unthrottled, map[string]int{fourSet: n, twoSet: n})
	if err != nil {
		return out, err
	}
	if out.four, err = d.floor(ctx, h, fourSet, n, p, false); err != nil {
		return out, err
	}
	out.two, err = d.floor(ctx, h, twoSet, n, p, true)
	return out, err
}

// floor works on the objects of a set, as many at a time as the manager may.
func (d *bed) floor(ctx context.Context, h *hub, set string, n int, p payload, short bool) (time.Duration, error) {
	objects, err := d.create(ctx, h, set, 1, n)
	if err != nil {
		return 0, err
	}
	loop := floorLoop{kube: d.kube, hub: h, status: p, short: short}
	var done atomic.Int64
	began := time.Now()
	err = d.parallel(ctx, "the floor", d.bench.opts.inFlight(), n, &done, func(ctx context.Context, i int) error {
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
