package main

import (
	"context"
	"fmt"
	"slices"
)

const (
	plantQuery    = "redmond43"
	cellularQuery = "redmond43-cellular"
)

// query is step c.
func (s *story) query(ctx context.Context) error {
	const inPlant = "tags.location.plant = '" + plantName + "'"
	const cellular = inPlant + " AND properties.reported.connectivity = 'cellular'"
	s.out.note("Waiting until both queries are answered.")
	if err := s.awaitMembers(ctx, plantQuery, deviceID); err != nil {
		return err
	}
	if err := s.awaitMembers(ctx, cellularQuery); err != nil {
		return err
	}
	if err := s.showTable(ctx, "twinqueries"); err != nil {
		return err
	}
	if err := s.hubAnswers(ctx, inPlant, deviceID); err != nil {
		return err
	}
	return s.hubAnswers(ctx, cellular)
}

// awaitMembers waits until a TwinQuery is answered with exactly these devices.
func (s *story) awaitMembers(ctx context.Context, name string, members ...string) error {
	expected := fmt.Sprintf("TwinQuery %s is Ready with members %v", name, members)
	return s.await(ctx, expected, func(ctx context.Context) (string, bool, error) {
		var object twinQuery
		if err := s.kubectl.Get(ctx, &object, "twinquery", name); err != nil {
			return "", false, err
		}
		ready, seen := readiness(object.Status.Conditions)
		if object.Status.Count == nil {
			return seen + ", no count", false, nil
		}
		same := int(*object.Status.Count) == len(members) && equalSets(object.Status.Devices, members)
		return fmt.Sprintf("%s, count %d, devices %v", seen, *object.Status.Count, object.Status.Devices), ready && same, nil
	})
}

// hubAnswers asks the hub the same, past the operator.
func (s *story) hubAnswers(ctx context.Context, where string, members ...string) error {
	ids, err := s.hub.queryIDs(ctx, where)
	if err != nil {
		return err
	}
	if !equalSets(ids, members) {
		return &unmetError{expected: fmt.Sprintf("the hub answers %v to %s", members, where), seen: fmt.Sprint(ids)}
	}
	s.out.note("the hub, POST /devices/query: %s -> %v", where, ids)
	return nil
}

// equalSets compares without regard to order.
func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
