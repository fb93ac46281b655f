package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// child is a server in a process of its own.
type child struct {
	name string
	serving
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
}

// stopTimeout is how long a server may take to leave.
const stopTimeout = 15 * time.Second

// startChild runs this program again as a server, with more flags. It dies with ctx.
func startChild(ctx context.Context, name string, flags ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: exec.CommandContext(ctx, program, append([]string{"--serve", name}, flags...)...)}
	c.cmd.Stderr = os.Stderr
	c.cmd.WaitDelay = stopTimeout
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = json.NewDecoder(output)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := c.answers.Decode(&c.serving); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", name, err), c.stop())
	}
	return c, nil
}

// order has the server do something and collect its garbage. It returns what
// is left on the heap, in bytes.
func (c *child) order(o order) (heap uint64, err error) {
	if err := json.NewEncoder(c.orders).Encode(o); err != nil {
		return 0, fmt.Errorf("%s takes no orders: %w", c.name, err)
	}
	var answer done
	if err := c.answers.Decode(&answer); err != nil {
		return 0, fmt.Errorf("%s does not answer: %w", c.name, err)
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", c.name, answer.Error)
	}
	return answer.Heap, nil
}

// stop lets the server end, since it gets no more orders.
func (c *child) stop() error {
	killer := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() }) // fails only when it is gone
	defer killer.Stop()
	if err := errors.Join(c.orders.Close(), c.cmd.Wait()); err != nil {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	return nil
}

// cpu is the CPU time that the process has used.
func (c *child) cpu() (time.Duration, error) {
	usage, err := process.UsageOf(c.cmd.Process.Pid)
	return usage.CPU, err
}

// rss is the memory that the process occupies, in bytes.
func (c *child) rss() (int, error) {
	usage, err := process.UsageOf(c.cmd.Process.Pid)
	return usage.RSS, err
}
