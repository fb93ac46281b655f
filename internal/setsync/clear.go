package setsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// Clear deletes what a set that goes has written to its devices, for about a second. It tells
// whether all is done, and what stays on the hub.
func (s *Sets) Clear(ctx context.Context, t *Task) (done bool, left string, err error) {
	host := t.Hub.Session.Host()
	if !s.begin(host) {
		return false, "", errBusy
	}
	defer s.end(host)
	r, err := s.run(ctx, t)
	if err != nil {
		return false, "", err
	}
	marked, err := r.questions.Marked()
	if err != nil {
		return false, "", err
	}
	r.beginClearing()
	until := r.Clock.Now().Add(stepTime)
	for r.Clock.Now().Before(until) {
		twins, next, err := r.page(ctx, marked, r.at.next)
		if err != nil {
			return false, "", err
		}
		targets := r.toClear(twins)
		if err := r.writeAll(ctx, targets); err != nil {
			return false, "", err
		}
		r.at.wrote = r.at.wrote || len(targets) > 0
		if r.at.next = next; !next.ended() {
			continue
		}
		wrote := r.at.wrote
		r.at = position{}
		if !wrote {
			return true, r.stays(), nil
		}
	}
	return false, "", nil
}

// beginClearing forgets, once, where the rollout was and what it met.
func (p *progress) beginClearing() {
	if p.clearing {
		return
	}
	p.clearing, p.at, p.examples = true, position{}, nil
	p.refused.Clear()
}

func (r *run) toClear(twins []*hub.Twin) []target {
	var targets []target
	for _, held := range twins {
		if r.dealtWith(held) {
			continue
		}
		if marker, _ := fleet.MarkerOf(held.Tags, r.name); r.Revisions[marker.Revision].Name == "" {
			r.lost++
		}
		targets = append(targets, target{held: held, cause: CauseDeletion})
	}
	return targets
}

// stays says what is left on the hub; "" for nothing.
func (r *run) stays() string {
	var left []string
	if n := r.refused.Len(); n > 0 {
		left = append(left, fmt.Sprintf("%d twins could not be changed", n))
		for _, example := range r.examples {
			left = append(left, example.DeviceID+": "+example.Reason)
		}
	}
	if r.lost > 0 {
		left = append(left, fmt.Sprintf("%d twins held a revision that is gone, so that nothing tells what was written to them", r.lost))
	}
	return strings.Join(left, "; ")
}

// Holds tells whether a device holds a revision, as far as the hub's index tells.
func (s *Sets) Holds(ctx context.Context, t *Task, revision string) (bool, error) {
	r, err := s.run(ctx, t)
	if err != nil {
		return false, err
	}
	holding, err := r.questions.Holding(revision)
	if err != nil {
		return false, err
	}
	n, err := r.count(ctx, holding)
	return n > 0, err
}
