package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args      []string
		complaint string
	}{
		"no assets":     {nil, "--assets"},
		"few twins":     {[]string{"--assets", "a", "--n", "99"}, "--n 99"},
		"no rounds":     {[]string{"--assets", "a", "--rounds", "0"}, "--rounds 0"},
		"few workers":   {[]string{"--assets", "a", "--workers", "3"}, "--workers 3"},
		"unknown row":   {[]string{"--assets", "a", "--rows", "idle,idles"}, `"idles"`},
		"one size":      {[]string{"--assets", "a", "--sizes", "5"}, "--sizes"},
		"falling sizes": {[]string{"--assets", "a", "--sizes", "5,4"}, "--sizes"},
		"report's path": {[]string{"--assets", "a", "--report", "../x"}, "--report"},
		"an argument":   {[]string{"--assets", "a", "idle"}, `"idle"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parseOptions(test.args, io.Discard); err == nil || !strings.Contains(err.Error(), test.complaint) {
				t.Errorf("got %v, want a complaint about %s", err, test.complaint)
			}
		})
	}
	opts, err := parseOptions([]string{"--assets", "a", "--n", "500", "--rows", "idle"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{50, 500}, opts.sizes); diff != "" {
		t.Errorf("sizes by default (-want +got):\n%s", diff)
	}
	if !opts.wants(idleRow()) || opts.wants(convergeRow()) {
		t.Error("--rows idle wants idle, and nothing else")
	}
	opts.rows = nil
	if !opts.wants(setConvergeRow()) || opts.wants(setMillionRow()) {
		t.Error("without --rows all are wanted, but for those on request")
	}
}

func TestHelpListsEveryRow(t *testing.T) {
	t.Parallel()
	var help bytes.Buffer
	if _, err := parseOptions([]string{"--help"}, &help); err == nil {
		t.Error("--help is no run")
	}
	for _, r := range scenarios() {
		if !strings.Contains(help.String(), "  "+r.name+" ") || r.title == "" {
			t.Errorf("row %s is not explained", r.name)
		}
		if len(r.steps) == 0 || slices.ContainsFunc(r.steps, func(s step) bool { return s.name == "" || s.do == nil }) {
			t.Errorf("row %s has no steps, or one without a name or a function", r.name)
		}
	}
}

// The twins are said to be of 1 KB.
func TestTwinsAreOfOneKilobyte(t *testing.T) {
	t.Parallel()
	for _, i := range []int{1, 999, 100000} {
		text, err := json.Marshal(map[string]any{"tags": tags(i), "desired": desired(i)})
		if err != nil {
			t.Fatal(err)
		}
		if size := len(text); size < 950 || size > 1100 {
			t.Errorf("twin %d is of %d bytes", i, size)
		}
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	before := callsOf(map[string]emulator.Count{"getTwin": {Calls: 2, Billed: 2}})
	after := callsOf(map[string]emulator.Count{
		"getTwin": {Calls: 5, Billed: 7}, "updateTwin": {Calls: 3, Billed: 2, Statuses: map[string]int{"200": 2, "429": 1}},
		"query": {Calls: 1, Billed: 1}, "getDevice": {Calls: 1}, "mqttConnect": {Calls: 9, Billed: 9},
	})
	want := calls{get: 3, patch: 3, query: 1, all: 8, refused: 1, billed: 8}
	if got := after.since(before); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func statusWrite(name string, at time.Time, code int) audit.Event {
	event := audit.Event{Verb: "patch", Answered: at}
	event.ObjectRef.Resource, event.ObjectRef.Subresource, event.ObjectRef.Name = "devicetwins", "status", name
	event.ResponseStatus.Code = code
	return event
}

func TestWrites(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	w := newWrites(nil)
	record := statusWrite("a", at(1), 200)
	record.ObjectRef.Subresource = ""
	for _, event := range []audit.Event{
		record, statusWrite("a", at(2), 200), statusWrite("b", at(3), 409), statusWrite("b", at(4), 200), statusWrite("a", at(6), 200),
	} {
		w.take(event)
	}
	if w.total != 5 {
		t.Errorf("%d writes, not 5: refused ones and records count", w.total)
	}
	if got := w.statusSince("a", at(2)); len(got) != 1 || !got[0].Equal(at(6)) {
		t.Errorf("a was written at %v", got)
	}
	if got := w.statusSince("b", at(0)); len(got) != 1 || !got[0].Equal(at(4)) {
		t.Errorf("b was written at %v: a refusal is no status", got)
	}
	if got := w.lastStatus("b"); !got.Equal(at(4)) {
		t.Errorf("b was last written at %v", got)
	}
	if diff := cmp.Diff([]string{"a"}, w.writtenSince(at(4))); diff != "" {
		t.Errorf("written since (-want +got):\n%s", diff)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	if wrong, missing := compare([]string{"a", "b", "c"}, []string{"b", "d"}); wrong != 1 || missing != 2 {
		t.Errorf("%d wrong and %d missing", wrong, missing)
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	b := newBench(options{}, io.Discard)
	if err := b.await(t.Context(), "phase", 0, time.Millisecond, func() (string, bool, error) { return "1 of 2", false, nil }); !errors.Is(err, errTooLong) ||
		!strings.Contains(err.Error(), "phase") || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("got %v", err)
	}
	dead := errors.New("etcd died")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(dead)
	if err := b.await(ctx, "phase", time.Minute, time.Minute, func() (string, bool, error) { return "", false, nil }); !errors.Is(err, dead) {
		t.Errorf("got %v, want why it ended", err)
	}
}

// A row that is measured again takes the place of the old one; the others stay.
func TestReport(t *testing.T) {
	t.Parallel()
	opts := options{out: t.TempDir(), report: "operator"}
	missed := bounds.Bound{What: "idle: PATCH", Measured: "3", Wanted: "0"}
	for _, measured := range []*result{
		{Row: "membership", N: 1, Bounds: []bounds.Bound{{What: "membership: GET", Measured: "9", Wanted: "0"}}},
		{Row: "idle", N: 1},
		{Row: "idle", N: 2, Bounds: []bounds.Bound{missed}, Values: []value{{"hub calls", 18, ""}}, Error: "etcd died"},
	} {
		r, err := newReport(opts)
		if err != nil {
			t.Fatal(err)
		}
		r.put(measured)
		if err := r.save(opts); err != nil {
			t.Fatal(err)
		}
		if err := r.missed(); measured.N == 2 && (err == nil || !strings.Contains(err.Error(), "idle: PATCH: 3, wanted 0") || strings.Contains(err.Error(), "membership")) {
			t.Errorf("got %v, want this run's bound alone", err)
		}
	}
	r, err := newReport(opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 2 || r.Rows[0].Row != "idle" || r.Rows[0].N != 2 || r.Rows[1].Row != "membership" {
		t.Errorf("rows: %+v", r.Rows)
	}
	text := r.markdown()
	for _, want := range []string{"| idle: PATCH | 3 | 0 | **missed** |", "| membership: GET | 9 | 0 | **missed** |", "| hub calls | 18 |", "etcd died"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
