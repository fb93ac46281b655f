// Package model_test runs random sequences of what users, devices, other writers
// and failures do against the real controllers, a real API server and the hub
// emulator, and holds what is then on the hub against package reference.
package model_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	sequences = flag.Int("sequences", 50, "how many random sequences to run")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first sequence, the others follow it; 0 takes one from the clock")
)

// atOnce is how many sequences run side by side.
const atOnce = 6

// regression is the seed of a sequence that once failed.
type regression struct {
	seed  uint64
	found string
}

// regressions are those about DeviceTwins.
var regressions = []regression{
	{5008, "a status that showed planned removals was written again at every visit, and lacked them"},
	{20058, "of two managers, one wrote a leaf at its second attempt that the other had dropped from the record"},
	{20250, "an object that was suspended amid its first visit kept a twin that its status did not name"},
}

// setRegressions are those about sets.
var setRegressions = []regression{
	{2, "with a status that was older than what was remembered, devices were written without any bound"},
	{123, "the revision before was deleted, and the status that does without it was not stored"},
	{212, "a set restored a leaf of its revision before that an older one keeps"},
	{338, "two sets wrote a leaf in turn, since the older one had gone back to a revision that its template does not show"},
	{347, "a device that had left its wave was written with it, before the approval of the one it belongs to"},
}

func TestRegressions(t *testing.T) {
	runRegressions(t, regressions, func(t *rapid.T) sequence { return newWorld(t) })
}

func TestSetRegressions(t *testing.T) {
	runRegressions(t, setRegressions, func(t *rapid.T) sequence { return newSetWorld(t) })
}

func runRegressions(t *testing.T, known []regression, begin func(*rapid.T) sequence) {
	t.Helper()
	seeds := make([]uint64, len(known))
	for i, one := range known {
		t.Logf("%d found: %s", one.seed, one.found)
		seeds[i] = one.seed
	}
	runSeeds(t, seeds, begin)
}

func TestSequences(t *testing.T) { runSequences(t, func(t *rapid.T) sequence { return newWorld(t) }) }

// TestSetSequences are sequences about DeviceTwinSets.
func TestSetSequences(t *testing.T) {
	runSequences(t, func(t *rapid.T) sequence { return newSetWorld(t) })
}

// sequence is one that is being played.
type sequence interface {
	run()
	close()
	// happened is what did, for humans.
	happened() []string
}

func runSequences(t *testing.T, begin func(*rapid.T) sequence) {
	t.Helper()
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9 // short enough to be typed
	}
	t.Logf("seeds %d to %d", seed, seed+uint64(*sequences)-1)
	seeds := make([]uint64, *sequences)
	for i := range seeds {
		seeds[i] = seed + uint64(i)
	}
	runSeeds(t, seeds, begin)
}

// runSeeds runs sequences side by side, more of them than there are processors: most of
// the time they wait for servers.
func runSeeds(t *testing.T, seeds []uint64, begin func(*rapid.T) sequence) {
	t.Helper()
	var running sync.WaitGroup
	done := newProgress(len(seeds))
	slots := make(chan struct{}, atOnce)
	for _, seed := range seeds {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			done.add(seed, t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { runSeed(t, seed, begin) }))
		})
	}
	running.Wait()
}

// progress tells how far a long run is, on stderr: go test shows a test's log at its end only.
type progress struct {
	mu          sync.Mutex
	began       time.Time
	total, done int
	failed      []uint64
}

// everySoMany is after how many sequences progress prints a line.
const everySoMany = 25

func newProgress(total int) *progress { return &progress{began: time.Now(), total: total} }

func (p *progress) add(seed uint64, passed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if !passed {
		p.failed = append(p.failed, seed)
	}
	if p.done%everySoMany == 0 || !passed {
		fmt.Fprintf(os.Stderr, "%d of %d sequences after %s, failed: %v\n",
			p.done, p.total, time.Since(p.began).Round(time.Second), p.failed)
	}
}

// seeding hands each run its own seed, which rapid reads from its flag when a check begins.
var seeding sync.Mutex

// runSeed runs one sequence. When it fails, rapid repeats it with ever fewer and simpler
// steps, for as long as -rapid.shrinktime allows.
func runSeed(t *testing.T, seed uint64, begin func(*rapid.T) sequence) {
	t.Helper()
	var first, shortest []string
	t.Cleanup(func() {
		if t.Failed() {
			report(t, seed, first, shortest)
		}
	})
	release := sync.OnceFunc(seeding.Unlock)
	seeding.Lock()
	defer release()
	for name, value := range map[string]string{
		"rapid.seed": strconv.FormatUint(seed, 10), "rapid.checks": "1", "rapid.nofailfile": "true",
	} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		release()
		w := begin(rt)
		passed := false
		defer func() {
			w.close()
			if passed {
				if testing.Verbose() {
					t.Log(numbered(w.happened()))
				}
				return
			}
			if first == nil {
				first = w.happened()
			}
			if shortest == nil || len(w.happened()) < len(shortest) {
				shortest = w.happened()
			}
		}()
		w.run()
		passed = true
	})
}

func report(t *testing.T, seed uint64, first, shortest []string) {
	t.Helper()
	t.Logf("to run it again: make model-test SEQUENCES=1 SEED=%d TESTFLAGS='-run ^%s$'", seed, strings.TrimSuffix(t.Name(), "/"+strconv.FormatUint(seed, 10)))
	if len(shortest) < len(first) {
		t.Log("the shortest sequence that failed:" + numbered(shortest))
	}
	t.Log("the sequence that failed first:" + numbered(first))
}

func numbered(lines []string) string {
	text := ""
	for i, line := range lines {
		text += fmt.Sprintf("\n%3d. %s", i+1, line)
	}
	return text
}
