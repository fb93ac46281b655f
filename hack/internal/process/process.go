// Package process runs programs as children: their output in logs, stopped in
// order, and missed when they end by themselves. It is for the programs under hack
// that bring up a control plane and what belongs to it.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long a process may take to leave on SIGTERM.
	stopTimeout = 15 * time.Second
	// tailLines is how many of its last lines tell of a death.
	tailLines = 15
)

// Process is one child.
type Process struct {
	name   string
	cmd    *exec.Cmd
	out    *output
	exited chan struct{}

	mu       sync.Mutex
	waitErr  error
	expected bool
}

// DeathError says that a process ended by itself.
type DeathError struct {
	name string
	err  error
	tail []string
}

func (e *DeathError) Error() string {
	how := "exited"
	if e.err != nil {
		how = e.err.Error()
	}
	return fmt.Sprintf("%s ended unexpectedly (%s); its last lines:\n  %s", e.name, how, strings.Join(e.tail, "\n  "))
}

// Supervisor starts and stops the processes, and calls everything off when one
// of them ends by itself.
type Supervisor struct {
	logs    string
	callOff context.CancelCauseFunc
	running []*Process
}

// NewSupervisor puts each process's output into a file in the folder logs. callOff
// learns of a process that ended by itself.
func NewSupervisor(logs string, callOff context.CancelCauseFunc) *Supervisor {
	return &Supervisor{logs: logs, callOff: callOff}
}

// Start runs a program with its output in a log named after it. Its end counts
// as an accident from Guard on. On Linux a child is signalled at the death of the
// thread that started it, not of the process: call this from a main goroutine
// that is locked to its thread.
func (s *Supervisor) Start(name, path string, args ...string) (*Process, error) {
	out, err := newOutput(filepath.Join(s.logs, name+".log"))
	if err != nil {
		return nil, err
	}
	// No context ends it: processes are stopped in order, see StopAll.
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), out.close())
	}
	p := &Process{name: name, cmd: cmd, out: out, exited: make(chan struct{}), expected: true}
	s.running = append(s.running, p)
	go p.wait(s.callOff)
	return p, nil
}

func (p *Process) wait(callOff context.CancelCauseFunc) {
	err := p.cmd.Wait()
	_ = p.out.close() // the log is written as far as it could be
	p.mu.Lock()
	p.waitErr = err
	expected := p.expected
	p.mu.Unlock()
	close(p.exited)
	if !expected {
		callOff(p.death())
	}
}

// death describes the end of a process that has ended.
func (p *Process) death() *DeathError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &DeathError{name: p.name, err: p.waitErr, tail: p.out.tail(tailLines, time.Time{})}
}

// expectExit says that the process's end is no accident from here on.
func (p *Process) expectExit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = true
}

// Guard makes the process's end an accident that calls everything off, and
// reports an end that came before.
func (p *Process) Guard() error {
	p.mu.Lock()
	p.expected = false
	p.mu.Unlock()
	if p.Alive() {
		return nil
	}
	return p.death()
}

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Tail returns the last n lines that the process wrote since then.
func (p *Process) Tail(n int, since time.Time) []string { return p.out.tail(n, since) }

// Find returns the first line that the process wrote since then and that contains
// text.
func (p *Process) Find(text string, since time.Time) (Line, bool) { return p.out.find(text, since) }

// Kill ends the process as a crash would, and waits for its end.
func (s *Supervisor) Kill(ctx context.Context, p *Process) error {
	p.expectExit()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.forget(p)
	return nil
}

// Signal sends a signal; one that has ended needs none.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// Stop asks the process to leave and, when it does not, kills it.
func (s *Supervisor) Stop(p *Process) error {
	p.expectExit()
	defer s.forget(p)
	// A stopped process would not see the request.
	err := errors.Join(p.Signal(syscall.SIGCONT), p.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	err = errors.Join(err, p.Signal(syscall.SIGKILL))
	<-p.exited
	return errors.Join(err, fmt.Errorf("%s did not leave within %s and was killed", p.name, stopTimeout))
}

func (s *Supervisor) forget(p *Process) {
	for i, known := range s.running {
		if known == p {
			s.running = append(s.running[:i], s.running[i+1:]...)
			return
		}
	}
}

// StopAll stops everything, the last started first, so that no client
// loses a server that it still uses. It continues after failures, which it returns.
func (s *Supervisor) StopAll() error {
	var errs []error
	for len(s.running) > 0 {
		p := s.running[len(s.running)-1]
		if err := s.Stop(p); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
