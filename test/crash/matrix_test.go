package crash_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

const (
	// scenariosVariable chooses scenarios by name; everyScenario for all.
	scenariosVariable = "CRASH_SCENARIOS"
	everyScenario     = "all"
	// matrixVariable is the file that the matrix is written to.
	matrixVariable = "CRASH_MATRIX"
)

func chosen(t *testing.T) []scenario {
	t.Helper()
	names := inEveryRun
	if text := os.Getenv(scenariosVariable); text != "" {
		names = strings.Split(text, ",")
	}
	var out []scenario
	for _, s := range scenarios {
		if slices.Contains(names, s.name) || slices.Contains(names, everyScenario) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s=%s names no scenario", scenariosVariable, strings.Join(names, ","))
	}
	return out
}

// TestCrashMatrix first lets each scenario run undisturbed, to know its writes,
// and then once for each write and boundary.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	m := &matrix{cells: map[string]string{}}
	t.Cleanup(func() {
		m.print(t)
		if os.Getenv(scenariosVariable) == everyScenario {
			m.checkSites(t)
		}
	})
	for _, s := range chosen(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			undisturbed := run(t, s, stop{}, "")
			m.addRows(s.name, undisturbed)
			for n, at := range undisturbed.stops(s) {
				for _, where := range boundaries {
					t.Run(fmt.Sprintf("%d %s", n+1, where), func(t *testing.T) {
						t.Parallel()
						verdict := "FAILED"
						t.Cleanup(func() { m.set(s.name, n, where, verdict) })
						got := run(t, s, at, where)
						checkEconomy(t, undisturbed, got)
						verdict = fmt.Sprintf("ok, %d+%d", got.applied, len(got.writes)-got.hubWrites())
					})
				}
			}
		})
	}
}

// outcome is what a run came to.
type outcome struct {
	writes  []string // all that the managers sent, in order
	points  int      // how many of them came of the act
	applied int      // twin updates that the hub made
}

func (o outcome) hubWrites() int {
	n := 0
	for _, name := range o.writes {
		if strings.HasPrefix(name, "twin ") || strings.HasPrefix(name, "identity ") {
			n++
		}
	}
	return n
}

// stops are the writes at which the managers of further runs are stopped. How often a set's status is written
// depends on when its steps come: each write is counted among those of its name.
func (o outcome) stops(s scenario) []stop {
	var out []stop
	seen := map[string]int{}
	for n, name := range o.writes[:o.points] {
		if s.fleet == nil {
			out = append(out, stop{n: n + 1})
			continue
		}
		seen[name]++
		out = append(out, stop{n: seen[name], name: name})
	}
	return out
}

// run takes a scenario from the start to its end. With stopAt the manager is
// killed at that write, and another one goes on.
func run(t *testing.T, s scenario, stopAt stop, where boundary) outcome {
	t.Helper()
	c := newCell(t, s.exists...)
	c.connect(s.policy)
	if s.prepare != nil {
		s.prepare(c)
	}
	before := c.applied()
	c.gate.arm(stopAt, where)
	s.act(c)
	var points int
	switch {
	case stopAt.n > 0 && c.comes(s):
		c.crash(where, s.meanwhile)
	case s.fleet != nil:
		c.awaitFleet(s.fleet)
		points = len(c.gate.written())
	case s.reason != "":
		c.Eventually(c.reason, patience, poll).Should(Equal(s.reason))
		points = len(c.gate.written())
	case s.meanwhile != nil:
		c.Eventually(func() string { return c.twinOnHub(s.device) }, patience, poll).Should(Equal(s.between))
		c.awaitReady(c.object())
		points = len(c.gate.written())
		s.meanwhile(c)
	}
	c.check(s)
	written := c.gate.written()
	return outcome{writes: written, points: cmp.Or(points, len(written)), applied: c.applied() - before}
}

// comes tells whether the write comes at which the manager is to be stopped. That of a set's status does not, where
// two of them came as one.
func (c *cell) comes(s scenario) bool {
	c.Helper()
	if s.fleet == nil {
		return true
	}
	c.Eventually(func() bool { return c.gate.hasStopped() || c.fleetDiffers(s.fleet) == "" }, patience, poll).Should(BeTrue())
	return !c.gate.disarm()
}

// crash waits until the write is where it is to be, kills the manager, and starts
// the next one, with something done meanwhile if there is anything.
func (c *cell) crash(where boundary, meanwhile func(*cell)) {
	c.Helper()
	c.Eventually(c.gate.stopped, patience).Should(BeClosed(), func() string {
		return "the write never came; there were " + strings.Join(c.gate.written(), ", ")
	})
	if where == after {
		select {
		case <-c.gate.knocked:
		case <-time.After(thought):
		}
	}
	c.manager.kill(c)
	c.gate.resume()
	if meanwhile != nil {
		meanwhile(c)
	}
	until := len(c.gate.written())
	c.startManager()
	// It runs, and its clock has been read.
	c.Eventually(c.gate.asked, patience, poll).Should(BeNumerically(">", 0))
	if where == held {
		c.awaitActed(until)
		c.Logf("the held write was answered with %d", c.gate.late())
	}
}

// awaitActed waits until the manager has written something, or has read the
// hub often enough to have decided that there is nothing to write.
func (c *cell) awaitActed(until int) {
	c.Helper()
	c.Eventually(func() bool { return len(c.gate.written()) > until || c.gate.asked() >= 4 }, patience, poll).Should(BeTrue())
}

// checkEconomy wants no more writes than a crash may cost: a twin is never
// updated twice for it, and the API server sees each write at most once more by
// the next manager, and what the record needs.
func checkEconomy(t *testing.T, undisturbed, got outcome) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(got.applied).To(BeNumerically("<=", undisturbed.applied), "twin updates that the hub made: %q", got.writes)
	g.Expect(len(got.writes)).To(BeNumerically("<=", 2*len(undisturbed.writes)+2), "all writes: %q", got.writes)
}

// matrix is what came of all cells.
type matrix struct {
	mu    sync.Mutex
	rows  []row
	cells map[string]string
}

type row struct {
	scenario string
	n        int
	write    string
}

func (m *matrix) addRows(scenario string, undisturbed outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, write := range undisturbed.writes[:undisturbed.points] {
		m.rows = append(m.rows, row{scenario, n, write})
	}
}

func (m *matrix) set(scenario string, n int, where boundary, verdict string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells[fmt.Sprint(scenario, n, where)] = verdict
	fmt.Fprintf(os.Stderr, "   %s, write %d, %s: %s\n", scenario, n+1, where, verdict)
}

// print writes the matrix to the file that was asked for.
func (m *matrix) print(t *testing.T) {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "| scenario | write | killed before | answer lost | after | held |\n|---|---|---|---|---|---|\n")
	slices.SortFunc(m.rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.scenario, b.scenario), cmp.Compare(a.n, b.n)) })
	for _, r := range m.rows {
		fmt.Fprintf(&out, "| %s | %d %s |", r.scenario, r.n+1, r.write)
		for _, where := range boundaries {
			fmt.Fprintf(&out, " %s |", cmp.Or(m.cells[fmt.Sprint(r.scenario, r.n, where)], "not run"))
		}
		fmt.Fprintln(&out)
	}
	fmt.Fprintf(&out, "\nA cell that is ok lists the twin updates that the hub made, and the writes to the API server.\n")
	t.Log("\n" + out.String())
	if file := os.Getenv(matrixVariable); file != "" {
		if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}
