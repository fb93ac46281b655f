package process

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newTestSupervisor also returns the context that an unexpected death ends.
func newTestSupervisor(t *testing.T) (*Supervisor, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	sup := NewSupervisor(t.TempDir(), cancel)
	t.Cleanup(func() {
		if err := sup.StopAll(); err != nil {
			t.Error(err)
		}
	})
	return sup, ctx
}

func shell(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh to run as a child")
	}
	return path
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: waited 10 s", what)
	}
}

func TestADeathCallsEverythingOff(t *testing.T) {
	t.Parallel()
	sup, ctx := newTestSupervisor(t)
	p, err := sup.Start("child", shell(t), "-c", "echo last words; read wait; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	// Standard input is empty: the child is on its way out, guarded or not.
	err = p.Guard()
	await(t, "the child's end", p.exited)
	if err == nil {
		await(t, "the story is called off", ctx.Done())
		err = context.Cause(ctx)
	}
	died := new(DeathError)
	if !errors.As(err, &died) {
		t.Fatalf("got %v, want a DeathError", err)
	}
	for _, want := range []string{"child", "exit status 3", "last words"} {
		if !strings.Contains(died.Error(), want) {
			t.Errorf("%q does not tell %q", died.Error(), want)
		}
	}
}

func TestStopAndKillAreNoAccidents(t *testing.T) {
	t.Parallel()
	sup, ctx := newTestSupervisor(t)
	path := shell(t)
	var children []*Process
	for range 2 {
		p, err := sup.Start("child", path, "-c", "while :; do sleep 1; done")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Guard(); err != nil {
			t.Fatal(err)
		}
		children = append(children, p)
	}
	if err := sup.Stop(children[0]); err != nil {
		t.Error(err)
	}
	if err := sup.Kill(t.Context(), children[1]); err != nil {
		t.Error(err)
	}
	for _, p := range children {
		if p.Alive() {
			t.Error("a child is still there")
		}
	}
	if len(sup.running) != 0 {
		t.Errorf("%d children are still on the list", len(sup.running))
	}
	if err := context.Cause(ctx); err != nil {
		t.Errorf("the story was called off: %v", err)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	sup, _ := newTestSupervisor(t)
	p, err := sup.Start("child", shell(t), "-c", "printf 'one\\ntwo'; printf ' halves\\nthree\\n' >&2")
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the child's end", p.exited)
	if got := strings.Join(p.out.tail(2, time.Time{}), ","); got != "two halves,three" {
		t.Errorf("tail: got %q", got)
	}
	line, found := p.out.find("halves", time.Time{})
	if !found || line.Text != "two halves" {
		t.Errorf("find: got %q", line.Text)
	}
	if _, found := p.out.find("halves", line.At.Add(time.Nanosecond)); found {
		t.Error("an old line was found as a new one")
	}
}

// A port that another process took between the check and the bind is replaced by
// another one.
func TestStartOnFreePortsTriesAgain(t *testing.T) {
	t.Parallel()
	sup, _ := newTestSupervisor(t)
	path := shell(t)
	attempts := 0
	start := func([]int) (*Process, error) {
		attempts++
		if attempts == 1 {
			return sup.Start("server", path, "-c", "echo bind: address already in use; exit 1")
		}
		return sup.Start("server", path, "-c", "while :; do sleep 1; done")
	}
	serving := func(context.Context, []int) error {
		if attempts == 1 {
			return errors.New("connection refused")
		}
		return nil
	}
	p, ports, err := sup.StartOnFreePorts(t.Context(), 2, start, serving)
	if err != nil {
		t.Fatal(err)
	}
	if attempts != 2 || !p.Alive() {
		t.Errorf("%d attempts, alive: %v", attempts, p.Alive())
	}
	if ports[0] == ports[1] {
		t.Errorf("the same port twice: %v", ports)
	}
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Errorf("port %d is not free: %v", port, err)
			continue
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStartOnFreePortsGivesUpOnOtherFailures(t *testing.T) {
	t.Parallel()
	sup, _ := newTestSupervisor(t)
	path := shell(t)
	attempts := 0
	_, _, err := sup.StartOnFreePorts(t.Context(), 1,
		func([]int) (*Process, error) {
			attempts++
			return sup.Start("server", path, "-c", "echo unknown flag; exit 2")
		},
		func(context.Context, []int) error { return errors.New("connection refused") })
	if err == nil || !strings.Contains(err.Error(), "unknown flag") {
		t.Errorf("got %v, want the server's last words", err)
	}
	if attempts != 1 {
		t.Errorf("%d attempts, want 1", attempts)
	}
}

func TestWaitForTellsWhatAProcessPrinted(t *testing.T) {
	t.Parallel()
	sup, _ := newTestSupervisor(t)
	p, err := sup.Start("server", shell(t), "-c", "echo waiting for a lock; while :; do sleep 1; done")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gaveUp := errors.New("gave up")
	err = p.WaitFor(ctx, func(context.Context) error {
		if _, printed := p.Find("lock", time.Time{}); printed {
			cancel(gaveUp)
		}
		return errors.New("connection refused")
	})
	if !errors.Is(err, gaveUp) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "waiting for a lock") {
		t.Errorf("got %v, want why it was given up and what it printed", err)
	}
}
