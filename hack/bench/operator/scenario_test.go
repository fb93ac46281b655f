package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func noted(notes *[]string, note string, err error) action {
	return func(ctx context.Context, r *run) error {
		if _, bounded := ctx.Deadline(); !bounded {
			return errors.New("the step has no limit")
		}
		*notes = append(*notes, note)
		r.out.add(note, 1, "")
		return err
	}
}

func TestStepsRunInOrderAndInRounds(t *testing.T) {
	t.Parallel()
	var notes []string
	b := newBench(options{n: 500, rounds: 2}, io.Discard)
	out, err := b.measure(t.Context(), scenario{
		name: "row", twins: atMost(200), rounds: true,
		steps:  []step{{"first", noted(&notes, "a", nil)}, {"second", noted(&notes, "b", nil)}},
		report: noted(&notes, "report", nil),
	})
	if err == nil && (out.N != 200 || out.Rounds != 2) {
		t.Errorf("got %d twins and %d rounds", out.N, out.Rounds)
	}
	if diff := cmp.Diff([]string{"a", "b", "a", "b", "report"}, notes); err != nil || diff != "" {
		t.Errorf("%v; what ran (-want +got):\n%s", err, diff)
	}
}

// The values of the steps before are in the result.
func TestAStepThatFailsEndsItsRow(t *testing.T) {
	t.Parallel()
	var notes []string
	b := newBench(options{n: 500, rounds: 1}, io.Discard)
	failure := errors.New("no answer")
	out, err := b.measure(t.Context(), scenario{
		name:   "row",
		steps:  []step{{"first", noted(&notes, "a", nil)}, {"ask the hub", noted(&notes, "b", failure)}, {"third", noted(&notes, "c", nil)}},
		report: noted(&notes, "report", nil),
	})
	if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "ask the hub: ") {
		t.Errorf("got %v, want the step and why it failed", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, notes); diff != "" || len(out.Values) != 2 {
		t.Errorf("%d values; what ran (-want +got):\n%s", len(out.Values), diff)
	}
}

func TestADeathEndsTheStep(t *testing.T) {
	t.Parallel()
	died := make(chan struct{})
	close(died)
	death := errors.New("etcd ended")
	r := &run{bench: newBench(options{}, io.Discard), out: &result{}, env: &environment{died: died, death: func() error { return death }}}
	err := r.do(t.Context(), []step{{"wait", func(ctx context.Context, _ *run) error {
		<-ctx.Done()
		return ctx.Err()
	}}})
	if !errors.Is(err, death) {
		t.Errorf("got %v, want what ended", err)
	}
}

func TestAClusterThatDoesNotStartFailsItsRow(t *testing.T) {
	t.Parallel()
	assets := t.TempDir()
	const etcd = "#!/bin/sh\necho no space left on device\nexit 1\n"
	if err := os.WriteFile(filepath.Join(assets, "etcd"), []byte(etcd), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := newBench(options{assets: assets}, io.Discard).measure(t.Context(), scenario{name: "row", steps: []step{{"start a cluster", startCluster}}})
	if err == nil || !strings.Contains(err.Error(), "start a cluster: etcd ended unexpectedly") || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("got %v, want what etcd printed", err)
	}
}
