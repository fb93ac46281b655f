package main

import (
	"context"
	"fmt"
	"reflect"
	"syscall"
	"time"
)

const (
	// foreignTag belongs to another writer of the same twin.
	foreignTag   = "serviced"
	foreignValue = "2026-11-04 by another department"
	foreignPlant = "Elsewhere"
)

// foreignChange is step f.
func (s *story) foreignChange(ctx context.Context) error {
	if s.broken() {
		s.out.note("The manager is frozen (SIGSTOP).")
		if err := s.operator.process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
	}
	changed, err := s.hub.patchTwin(ctx, map[string]any{"tags": map[string]any{
		"location": map[string]any{"plant": foreignPlant}, foreignTag: foreignValue,
	}})
	if err != nil {
		return err
	}
	s.out.evidence("another writer, PATCH /twins/"+deviceID, changed.show())
	asChanged := map[string]any{
		"location": map[string]any{"region": "US", "plant": foreignPlant}, foreignTag: foreignValue,
	}
	if !reflect.DeepEqual(changed.Tags, asChanged) {
		return &unmetError{expected: "the foreign change is on the hub: tags " + compact(asChanged), seen: compact(changed.Tags)}
	}
	s.out.note("Waiting until our plant is restored and their tag is still there.")
	began := time.Now()
	want := map[string]any{
		"location": map[string]any{"region": "US", "plant": plantName}, foreignTag: foreignValue,
	}
	if err := s.awaitTwin(ctx, "the hub holds tags "+compact(want), func(t *twin) bool {
		return reflect.DeepEqual(t.Tags, want)
	}); err != nil {
		return err
	}
	s.out.note("Restored %s after the change.", seconds(time.Since(began)))
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	return s.showTwin(ctx)
}

func plant(t *twin) any {
	location, ok := t.Tags["location"].(map[string]any)
	if !ok {
		return nil
	}
	return location["plant"]
}

// editReaches is step g.
func (s *story) editReaches(ctx context.Context) error {
	began := time.Now()
	if err := s.editAndApply(ctx, "desired.power_level: 1 -> 2", func(spec map[string]any) error {
		return setLeaf(spec, 2, "desired", "power_level")
	}); err != nil {
		return err
	}
	s.out.note("Waiting until the device prints it.")
	line, err := s.awaitLine(ctx, "devicesim: desired power_level: 2 ", began)
	if err != nil {
		return err
	}
	s.out.evidence("the device prints", line.Text)
	s.out.note("The device knew %s after kubectl was started.", seconds(line.At.Sub(began)))
	if err := s.awaitTwin(ctx, "the hub holds desired power_level 2, and the tags as before", func(t *twin) bool {
		return reflect.DeepEqual(t.desired(), map[string]any{"power_level": 2.0}) &&
			plant(t) == plantName && t.Tags[foreignTag] == foreignValue
	}); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	return s.showTwin(ctx)
}

// editAndApply edits the manifest and applies it, as a user would. With
// --break the edit stays in the editor.
func (s *story) editAndApply(ctx context.Context, what string, change func(spec map[string]any) error) error {
	if s.broken() {
		s.out.note("The edit (%s) is not applied.", what)
		return nil
	}
	if err := s.manifests.edit(change); err != nil {
		return err
	}
	s.out.note("Edited: %s", what)
	return s.applyManifests(ctx)
}

// finalTags are the tags at the end of the story.
func finalTags() map[string]any {
	return map[string]any{"location": map[string]any{"plant": plantName}, foreignTag: foreignValue}
}

// asTold reports whether the twin is as the story ends.
func asTold(t *twin) bool {
	return reflect.DeepEqual(t.Tags, finalTags()) && reflect.DeepEqual(t.desired(), map[string]any{"power_level": 2.0})
}

// removal is step h.
func (s *story) removal(ctx context.Context) error {
	if err := s.editAndApply(ctx, "tags.location.region removed", func(spec map[string]any) error {
		return removeLeaf(spec, "tags", "location", "region")
	}); err != nil {
		return err
	}
	s.out.note("Waiting until the region is gone from the hub, and nothing else.")
	if err := s.awaitTwin(ctx, "the hub holds tags "+compact(finalTags())+" and desired power_level 2", asTold); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	if err := s.showTwin(ctx); err != nil {
		return err
	}
	return s.reportShows(ctx)
}

// endAsTold looks once more after a kill: the manager that came back leaves the
// end of the story as it was.
func (s *story) endAsTold(ctx context.Context) error {
	if err := s.awaitReadBack(ctx); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	t, err := s.hub.twin(ctx)
	if err != nil {
		return err
	}
	s.out.evidence("the hub, GET /twins/"+deviceID, t.show())
	if !asTold(t) || t.reported()["connectivity"] != cellular {
		return &unmetError{
			expected: fmt.Sprintf("tags %s, desired power_level 2, reported connectivity %s", compact(finalTags()), cellular),
			seen:     t.show(),
		}
	}
	return s.reportShows(ctx)
}
