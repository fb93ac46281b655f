package main

import (
	"slices"
	"testing"
	"time"
)

// Values are medians of the rounds. What must never be is missed by one bad round of three.
func TestOneBadRoundOfASetMissesItsBound(t *testing.T) {
	t.Parallel()
	second := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for name, c := range map[string]struct {
		report func(*run)
		missed []string
		// median is a value, by its name, and what it must be.
		what   string
		median float64
	}{
		"idle": {
			report: func(r *run) {
				reportSetIdle(r, []observation{{calls: calls{query: 21}}, {writes: 1, calls: calls{query: 40, patch: 2}}, {calls: calls{query: 22}}})
			},
			missed: []string{"PATCH", "writes to the API server", "query pages a minute"},
			what:   "of them query pages", median: 22,
		},
		"restart": {
			report: func(r *run) {
				reportSetRestart(r, []setRestart{{patches: 2000, gets: 3}, {patches: 2001, gets: 1}, {patches: 2000, gets: 2}})
			},
			missed: []string{"devices with a second PATCH, in the worst round"},
			what:   "GET after it", median: 2,
		},
		"S1": {
			report: func(r *run) {
				reportSetS1(r, []setS1{
					{rolled: roll{began: second(0), last: second(50)}},
					{rolled: roll{began: second(0), last: second(70), calls: calls{refused: 1}}, edited: 2 * time.Second},
					{rolled: roll{began: second(0), last: second(51)}},
				})
			},
			missed: []string{"answers with 429, in the worst round", "an edit of a DeviceTwin in the middle, in the worst round"},
			what:   "from the set's creation to the last PATCH", median: 51,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run{out: &result{N: 2000}}
			c.report(r)
			for _, bound := range r.out.Bounds {
				if held := !slices.Contains(c.missed, bound.What); held != bound.Held {
					t.Errorf("held is %t: %s", bound.Held, bound.What)
				}
			}
			if !slices.ContainsFunc(r.out.Values, func(v value) bool { return v.What == c.what && v.Value == c.median }) {
				t.Errorf("%q is not %v: %v", c.what, c.median, r.out.Values)
			}
		})
	}
}
