package main

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

const (
	s1Twins = 2000
	// s1Updates is what IoT Hub documents for an S1 unit: twin updates a second.
	s1Updates = 50
	s1Percent = 80
	// mostTimesTheRate bounds the time by what the rate allows.
	mostTimesTheRate = 1.05
	longestEdit      = time.Second
)

// s1 is an S1 unit, of whose rate the manager may use a part.
var s1 = profile{sku: v1alpha1.SKUS1, units: 1, rate: s1Percent, throttled: true}

// convergeS1 is when the first PATCH and the last were seen, and how long an edit
// between them took until it was at the hub.
type convergeS1 struct {
	first, last time.Time
	edited      time.Duration
}

func convergeS1Row() scenario {
	m := &convergeS1{}
	return scenario{
		name: "converge-S1", title: "2,000 twins at an S1 hub, 80 % of its rate",
		hub: s1.String(), twins: atMost(s1Twins),
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", startHub(s1)},
			{"create the DeviceTwins", createTwins},
			{"start the manager", startManager},
			{"wait for the first PATCH", func(ctx context.Context, r *run) (err error) {
				m.first, err = r.patches(ctx, 1)
				return err
			}},
			{"wait for half of them", func(ctx context.Context, r *run) error {
				_, err := r.patches(ctx, r.out.N/2)
				return err
			}},
			{"edit a DeviceTwin", m.edit},
			{"wait for the last PATCH", func(ctx context.Context, r *run) (err error) {
				m.last, err = r.patches(ctx, r.out.N+1) // the edit's too
				return err
			}},
			{"wait until all are Ready", awaitReady},
		},
		report: m.report,
	}
}

// edit changes a DeviceTwin that is Ready, and measures how long it takes until the hub
// is told.
func (m *convergeS1) edit(ctx context.Context, r *run) (err error) {
	if err := r.env.writes.refresh(); err != nil {
		return err
	}
	var twin v1alpha1.DeviceTwin
	for name := range r.env.writes.status {
		if err := r.env.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &twin); err != nil {
			return err
		}
		if isReady(&twin) {
			break
		}
	}
	if !isReady(&twin) {
		return errors.New("no DeviceTwin is Ready when half of the updates were sent")
	}
	m.edited, err = r.untilUpdated(ctx, twin.Name, convergeLimit(s1Twins), func() error { return r.env.edit(ctx, &twin, 1, "another owner") })
	return err
}

func (m *convergeS1) report(ctx context.Context, r *run) error {
	made, err := r.hub().calls(ctx)
	if err != nil {
		return err
	}
	floor := float64(r.out.N) / (s1Updates * s1Percent / 100)
	took := m.last.Sub(m.first).Seconds()
	r.out.add("first PATCH to last", took, "s")
	r.out.add("what the rate allows", floor, "s")
	r.out.add("answers with 429", float64(made.refused), "")
	r.out.add("an edit in the middle, until it is at the hub", m.edited.Seconds(), "s")
	r.out.bound(bounds.AtMost("first PATCH to last, beside what the rate allows", "%.2f times", took/floor, mostTimesTheRate))
	r.out.bound(bounds.None("answers with 429", made.refused))
	r.out.bound(bounds.AtMost("an edit in the middle", "%.2f s", m.edited.Seconds(), longestEdit.Seconds()))
	return nil
}
