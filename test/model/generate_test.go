package model_test

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// Few keys and values, so that declarations and writers meet often.
func someSection() *rapid.Generator[string] { return rapid.SampledFrom([]string{"tags", "desired"}) }

func someKey() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "b", "größe", "a/b", "tags"})
}

func someValue() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"1", "2", "3", `"x"`, "true", "[]", "[1,2]", reference.Empty})
}

func somePath() *rapid.Generator[reference.Path] {
	return rapid.Custom(func(t *rapid.T) reference.Path {
		keys := []string{someSection().Draw(t, "section"), someKey().Draw(t, "key")}
		for range rapid.SampledFrom([]int{0, 0, 1, 1, 2}).Draw(t, "depth") {
			keys = append(keys, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"))
		}
		return reference.At(keys...)
	})
}

func somePolicy() *rapid.Generator[v1alpha1.LeafPolicy] {
	return rapid.SampledFrom([]v1alpha1.LeafPolicy{
		v1alpha1.PolicyEnforce, v1alpha1.PolicyEnforce, v1alpha1.PolicyYield, v1alpha1.PolicyInitialize, v1alpha1.PolicyObserve,
	})
}

// someLeaves are a declaration, or what another writer writes.
func someLeaves(least, most int) *rapid.Generator[reference.Leaves] {
	return rapid.Custom(func(t *rapid.T) reference.Leaves {
		leaves := reference.Leaves{}
		for range rapid.IntRange(least, most).Draw(t, "leaves") {
			leaves = leaves.Apply(set(somePath().Draw(t, "path"), someValue().Draw(t, "value")))
		}
		return leaves
	})
}

func set(at reference.Path, value string) reference.Patch {
	return reference.Patch{Set: reference.Leaves{at: value}}
}

// edited is a declaration with a change that a user may make: of one leaf, or all.
func edited(t *rapid.T, before reference.Leaves) reference.Leaves {
	paths := before.Paths()
	kind := rapid.IntRange(0, 9).Draw(t, "edit")
	switch {
	case kind < 3 || len(paths) == 0:
		return before.Apply(set(somePath().Draw(t, "path"), someValue().Draw(t, "value")))
	case kind < 5:
		return before.Apply(set(rapid.SampledFrom(paths).Draw(t, "declared"), someValue().Draw(t, "value")))
	case kind < 7:
		return before.Without(rapid.SampledFrom(paths).Draw(t, "declared"))
	case kind < 8:
		return reference.Leaves{}
	}
	return someLeaves(1, 4).Draw(t, "declaration")
}

// written is what another writer changes: leaves that are declared, or others.
func written(t *rapid.T, declared []reference.Path) reference.Patch {
	path := func() reference.Path {
		if len(declared) > 0 && rapid.Bool().Draw(t, "a declared leaf") {
			return rapid.SampledFrom(declared).Draw(t, "declared")
		}
		return somePath().Draw(t, "path")
	}
	change := reference.Patch{Set: reference.Leaves{}}
	if rapid.IntRange(0, 3).Draw(t, "deletes") == 0 {
		change.Delete = append(change.Delete, path())
		return change
	}
	for range rapid.IntRange(1, 2).Draw(t, "leaves") {
		change.Set = change.Set.Apply(set(path(), someValue().Draw(t, "value")))
	}
	return change
}

func somePolicies(t *rapid.T) []v1alpha1.PathPolicy {
	seen := map[reference.Path]bool{}
	var out []v1alpha1.PathPolicy
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "policies") {
		path := somePath().Draw(t, "path")
		if rapid.IntRange(0, 3).Draw(t, "whole section") == 0 {
			path = reference.At(someSection().Draw(t, "section"))
		}
		if seen[path] {
			continue
		}
		seen[path] = true
		out = append(out, v1alpha1.PathPolicy{Path: path.String(), Policy: somePolicy().Draw(t, "policy")})
	}
	return out
}

// rawSection is one section as a manifest spells it: equal numbers in several ways.
func rawSection(leaves reference.Leaves, name string) *runtime.RawExtension {
	spelled := leaves
	for path, value := range leaves {
		if value == "2" {
			spelled = spelled.Apply(set(path, "2.0"))
		}
	}
	text, err := json.Marshal(spelled.Section(name))
	if err != nil {
		panic(err) // leaves are JSON
	}
	return &runtime.RawExtension{Raw: text}
}

// specOf is a declaration as the rules see it.
func specOf(spec *v1alpha1.DeviceTwinSpec, leaves reference.Leaves) reference.Spec {
	out := reference.Spec{
		Leaves: leaves, Policy: reference.Policy(spec.Policy), Suspend: spec.Suspend,
		Clear: spec.DeletionPolicy != v1alpha1.DeletionRetain,
	}
	for _, p := range spec.Policies {
		out.Policies = append(out.Policies, reference.PathPolicy{
			Path: reference.At(strings.Split(p.Path, ".")...), Policy: reference.Policy(p.Policy),
		})
	}
	return out
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return texts
}
