package main

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
	tailLines   = 15
)

// process is one child.
type process struct {
	name   string
	cmd    *exec.Cmd
	out    *output
	exited chan struct{}

	mu       sync.Mutex
	waitErr  error
	expected bool
}

// deathError says that a process ended by itself.
type deathError struct {
	name string
	err  error
	tail []string
}

func (e *deathError) Error() string {
	how := "exited"
	if e.err != nil {
		how = e.err.Error()
	}
	return fmt.Sprintf("%s ended unexpectedly (%s); its last lines:\n  %s", e.name, how, strings.Join(e.tail, "\n  "))
}

// supervisor starts and stops the processes, and calls the story off when one
// of them ends by itself.
type supervisor struct {
	logs    string
	callOff context.CancelCauseFunc
	running []*process
}

func newSupervisor(logs string, callOff context.CancelCauseFunc) *supervisor {
	return &supervisor{logs: logs, callOff: callOff}
}

// start runs a program with its output in a log named after it. Its end counts
// as an accident from guard on. It must be called from the main goroutine, see
// main.
func (s *supervisor) start(name, path string, args ...string) (*process, error) {
	out, err := newOutput(filepath.Join(s.logs, name+".log"))
	if err != nil {
		return nil, err
	}
	// No context ends it: processes are stopped in order, see stopAll.
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), out.close())
	}
	p := &process{name: name, cmd: cmd, out: out, exited: make(chan struct{}), expected: true}
	s.running = append(s.running, p)
	go p.wait(s.callOff)
	return p, nil
}

func (p *process) wait(callOff context.CancelCauseFunc) {
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
func (p *process) death() *deathError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &deathError{name: p.name, err: p.waitErr, tail: p.out.tail(tailLines, time.Time{})}
}

// expectExit says that the process's end is no accident from here on.
func (p *process) expectExit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = true
}

// guard makes the process's end an accident that calls the story off, and
// reports an end that came before.
func (p *process) guard() error {
	p.mu.Lock()
	p.expected = false
	p.mu.Unlock()
	if p.alive() {
		return nil
	}
	return p.death()
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash would, and waits for its end.
func (s *supervisor) kill(ctx context.Context, p *process) error {
	p.expectExit()
	if err := p.signal(syscall.SIGKILL); err != nil {
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

func (p *process) signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// stop asks the process to leave and, when it does not, kills it.
func (s *supervisor) stop(p *process) error {
	p.expectExit()
	defer s.forget(p)
	// A stopped process would not see the request.
	err := errors.Join(p.signal(syscall.SIGCONT), p.signal(syscall.SIGTERM))
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	err = errors.Join(err, p.signal(syscall.SIGKILL))
	<-p.exited
	return errors.Join(err, fmt.Errorf("%s did not leave within %s and was killed", p.name, stopTimeout))
}

func (s *supervisor) forget(p *process) {
	for i, known := range s.running {
		if known == p {
			s.running = append(s.running[:i], s.running[i+1:]...)
			return
		}
	}
}

// stopAll stops everything, the last started first: nobody loses a server
// while it is still a client.
func (s *supervisor) stopAll(out *printer) {
	for len(s.running) > 0 {
		p := s.running[len(s.running)-1]
		if err := s.stop(p); err != nil {
			out.line("While stopping: %v", err)
		}
	}
}
