package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	// creators is how many objects are created at a time.
	creators = 32
	// looksApart is how much longer the pause after a look at all objects is.
	looksApart = 5
	// patience is for what takes no time when all is well.
	patience = time.Minute
)

// create creates the DeviceTwins of a set from one number to another, both included,
// as fast as the API server takes them.
func (e *environment) create(ctx context.Context, h *hub, set string, from, to int) ([]*v1alpha1.DeviceTwin, error) {
	objects := make([]*v1alpha1.DeviceTwin, to-from+1)
	err := e.parallel(ctx, "DeviceTwins are created", creators, len(objects), func(ctx context.Context, i int) error {
		objects[i] = deviceTwin(h.name, set, from+i)
		objects[i].Labels = h.labels
		return e.kube.Create(ctx, objects[i])
	})
	return objects, err
}

// edit changes a DeviceTwin as a user would: to the tags of device i, but for the owner.
func (e *environment) edit(ctx context.Context, twin *v1alpha1.DeviceTwin, i int, owner string) error {
	before := twin.DeepCopy()
	changed := tags(i)
	changed["owner"] = owner
	twin.Spec.Tags = document(changed)
	return e.kube.Patch(ctx, twin, client.MergeFrom(before))
}

// editFleet edits the first n DeviceTwins of the fleet.
func (r *run) editFleet(ctx context.Context, n int, owner string) error {
	return r.parallel(ctx, "DeviceTwins are edited", creators, n, func(ctx context.Context, i int) error {
		return r.env.edit(ctx, deviceTwin(r.hub().name, fleetSet, i+1), i+1, owner)
	})
}

// ready counts the DeviceTwins that are Ready at their newest generation.
func (e *environment) ready(ctx context.Context) (int, error) {
	count := 0
	next := ""
	for {
		var list v1alpha1.DeviceTwinList
		if err := e.kube.List(ctx, &list, client.InNamespace(namespace), client.Limit(2000), client.Continue(next)); err != nil {
			return 0, fmt.Errorf("list DeviceTwins: %w", err)
		}
		for i := range list.Items {
			if isReady(&list.Items[i]) {
				count++
			}
		}
		if next = list.Continue; next == "" {
			return count, nil
		}
	}
}

func isReady(twin *v1alpha1.DeviceTwin) bool {
	c := meta.FindStatusCondition(twin.Status.Conditions, v1alpha1.ConditionReady)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == twin.Generation
}

// awaitReady waits until n DeviceTwins are Ready. The audit log says when a look is
// worth its while.
func (e *environment) awaitReady(ctx context.Context, n int, limit time.Duration) error {
	looked, pause := time.Time{}, time.Second
	return e.await(ctx, "DeviceTwins are Ready", limit, 50*time.Millisecond, func() (string, bool, error) {
		if err := e.writes.refresh(); err != nil {
			return "", false, err
		}
		seen := fmt.Sprintf("%d of %d have a status", len(e.writes.status), n)
		if len(e.writes.status) < n || time.Since(looked) < pause {
			return seen, false, nil
		}
		began := time.Now()
		ready, err := e.ready(ctx)
		looked = time.Now()
		pause = max(pause, looksApart*looked.Sub(began)) // a look takes the machine, too
		return fmt.Sprintf("%d of %d", ready, n), ready >= n, err
	})
}

// convergeLimit is how long so many may take to converge: as long as at five a second,
// and a minute.
func convergeLimit(n int) time.Duration { return time.Minute + time.Duration(n)*time.Second/5 }

// until returns how long after a time an object is seen to be so. One that is not within
// the limit counts as long as was waited.
func (e *environment) until(ctx context.Context, name string, since time.Time, limit time.Duration, so func(*v1alpha1.DeviceTwin) bool) (time.Duration, error) {
	err := e.await(ctx, "the DeviceTwin shows it", limit, 50*time.Millisecond, func() (string, bool, error) {
		var twin v1alpha1.DeviceTwin
		err := e.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &twin)
		return "not yet", so(&twin), err
	})
	if errors.Is(err, errTooLong) {
		err = nil
	}
	return time.Since(since), err
}
