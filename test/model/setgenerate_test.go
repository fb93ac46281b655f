package model_test

import (
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// The tags that sets select by, and that no template writes.
var (
	tagPlant = reference.At("tags", "plant")
	tagLine  = reference.At("tags", "line")
	tagRing  = reference.At("tags", "ring")
)

// someSetLeaves are a template: no leaf is above another one.
func someSetLeaves() *rapid.Generator[reference.Leaves] {
	return rapid.Custom(func(t *rapid.T) reference.Leaves {
		leaves := reference.Leaves{}
		for range rapid.IntRange(1, 4).Draw(t, "leaves") {
			leaves[someSetPath().Draw(t, "path")] = rapid.SampledFrom([]string{"1", "2", "3", "4", "[1,2]"}).Draw(t, "value")
		}
		return leaves
	})
}

func someSetPath() *rapid.Generator[reference.Path] {
	return rapid.SampledFrom([]reference.Path{
		reference.At("desired", "m"), reference.At("desired", "n", "x"), reference.At("desired", "n", "y"), reference.At("desired", "o"),
		reference.At("tags", "a"), reference.At("tags", "b", "x"), reference.At("tags", "b", "y"),
	})
}

// draw chooses all of a set but its selector.
func (s *declaredSet) draw(t *rapid.T, leaves reference.Leaves) {
	s.rules.Leaves = leaves
	s.drawRollout(t)
	s.spec.OnLeave = rapid.SampledFrom([]v1alpha1.SetPolicy{v1alpha1.SetRetain, v1alpha1.SetClear}).Draw(t, "onLeave")
	s.spec.DeletionPolicy = rapid.SampledFrom([]v1alpha1.SetPolicy{v1alpha1.SetRetain, v1alpha1.SetClear}).Draw(t, "deletion")
	s.spec.RevisionHistoryLimit = ptr.To(rapid.SampledFrom([]int32{0, 1, 10}).Draw(t, "history"))
}

// drawRollout chooses how a revision comes to the devices.
func (s *declaredSet) drawRollout(t *rapid.T) {
	s.rules.Judged = rapid.IntRange(0, 3).Draw(t, "judged") > 0
	s.rules.MaxInFlight = rapid.IntRange(1, 4).Draw(t, "in flight")
	s.rules.Waves = nil
	if rapid.Bool().Draw(t, "canary") {
		s.rules.Waves = append(s.rules.Waves, reference.Wave{
			Name: "canary", Where: &reference.Where{Path: tagRing, Value: `"canary"`}, Approve: rapid.Bool().Draw(t, "approve"),
		})
	}
	if rapid.Bool().Draw(t, "share") {
		s.rules.Waves = append(s.rules.Waves, reference.Wave{
			Name: "share", Approve: rapid.Bool().Draw(t, "approve"), MaxInFlight: rapid.IntRange(0, 3).Draw(t, "in flight"),
		})
	}
	rollout := &s.spec.Rollout
	rollout.Failure.Percent = ptr.To(rapid.SampledFrom([]int32{0, 30, 100}).Draw(t, "may fail"))
	rollout.Failure.MinSample = int32(rapid.IntRange(1, 4).Draw(t, "sample"))
	rollout.Failure.Action = rapid.SampledFrom([]v1alpha1.FailureAction{v1alpha1.FailurePause, v1alpha1.FailureRollBack}).Draw(t, "failure")
	rollout.Joiners = rapid.SampledFrom([]v1alpha1.Joiners{
		v1alpha1.JoinersAfterTheirWave, v1alpha1.JoinersAfterTheirWave, v1alpha1.JoinersAtOnce, v1alpha1.JoinersHold,
	}).Draw(t, "joiners")
}

// someForeign is what another writer changes.
func someForeign(t *rapid.T) reference.Patch {
	path := someSetPath().Draw(t, "path")
	if rapid.IntRange(0, 3).Draw(t, "beside") == 0 {
		path = rapid.SampledFrom([]reference.Path{reference.At("tags", "b", "z"), reference.At("desired", "n", "z"), reference.At("tags", "theirs")}).Draw(t, "path")
	}
	if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		return reference.Patch{Delete: []reference.Path{path}}
	}
	return set(path, rapid.SampledFrom([]string{"1", "2", "9"}).Draw(t, "value"))
}
