package invoke

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const help = `Call a direct method of the device, or module, of a DeviceTwin, and print its answer: a status, and a payload in JSON. A method is for
what is done once, such as a reboot; what is to stay so belongs into the spec.

The call goes from here to the hub, with the connection string in the Secret of the HubConnection: it takes the right to get that
Secret, and a way to the hub. It is made once; where its answer is lost, the error says that the device may have been called. A
HubConnection with a workload identity cannot be used: only the manager's ServiceAccount can sign in as it.

Exit codes: 0 the device answered with a status of 200 to 299; 1 it answered with another one; 2 it did not answer, or was not called.`

const examples = `  # without a payload
  kubectl twin invoke thermostat-1 reboot

  # with one, and time to answer
  kubectl twin invoke thermostat-1 setClock --payload '{"zone":"Europe/Berlin"}' --timeout 2m

  # from a file, - for standard input, for a program
  kubectl twin invoke thermostat-1 update --payload @update.json -o json`

// defaultTimeout is IoT Hub's own.
const defaultTimeout = 30 * time.Second

// fromFile begins the name of a file in --payload.
const fromFile = "@"

// command is what it was called with.
type command struct {
	access  *cluster.Access
	format  *terminal.Format
	payload string
	timeout time.Duration
}

// NewCommand returns the command invoke.
func NewCommand(access *cluster.Access) *cobra.Command {
	i := &command{access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML)}
	cmd := &cobra.Command{
		Use: "invoke NAME METHOD", Short: "Call a direct method of a device", Long: help, Example: examples,
		Args: cobra.ExactArgs(2), ValidArgsFunction: access.CompleteTwin,
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd.Context(), args[0], args[1]) },
	}
	cmd.Flags().StringVar(&i.payload, "payload", "", "JSON to call it with, @FILE for a file that holds it, @- for standard input; none when left out")
	cmd.Flags().DurationVar(&i.timeout, "timeout", defaultTimeout, "how long the device may take to answer, 5s to 5m in whole seconds")
	i.format.AddFlag(cmd)
	return cmd
}

func (i *command) run(ctx context.Context, name, method string) error {
	call := hub.Method{Name: method, Timeout: i.timeout}
	if i.timeout < hub.MinMethodTimeout || i.timeout > hub.MaxMethodTimeout || i.timeout%time.Second != 0 {
		return fmt.Errorf("--timeout: %s should be 5s to 5m, in whole seconds", i.timeout)
	}
	var err error
	if call.Payload, err = i.read(); err != nil {
		return fmt.Errorf("--payload: %w", err)
	}
	c, err := i.access.Client()
	if err != nil {
		return err
	}
	obj, err := i.access.Twin(ctx, c, name)
	if err != nil {
		return err
	}
	session, err := sessionOf(ctx, c, obj)
	if err != nil {
		return err
	}
	result, err := session.InvokeMethod(ctx, hub.ID{Device: obj.Spec.DeviceID, Module: obj.Spec.ModuleID}, call)
	if err != nil {
		return err
	}
	if err := i.print(result); err != nil {
		return err
	}
	if result.Status < http.StatusOK || result.Status >= http.StatusMultipleChoices {
		return cluster.ErrFound
	}
	return nil
}

// read is the payload, nil for none.
func (i *command) read() (json.RawMessage, error) {
	if i.payload == "" {
		return nil, nil
	}
	text := []byte(i.payload)
	if file, isFile := strings.CutPrefix(i.payload, fromFile); isFile {
		var err error
		if file == "-" {
			text, err = io.ReadAll(i.access.In)
		} else {
			text, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, err
		}
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fmt.Errorf("should be JSON, such as '{\"delay\":5}', or @FILE: %w", err)
	}
	return text, nil
}

func (i *command) print(result *hub.MethodResult) error {
	if i.format.Structured() {
		return i.format.Print(i.access.Out, map[string]any{"status": result.Status, "payload": result.Payload})
	}
	var payload bytes.Buffer
	if err := json.Indent(&payload, result.Payload, "", "  "); err != nil {
		return err
	}
	screen := i.access.Screen()
	screen.Line(terminal.Plain, "status: %d", result.Status)
	for line := range strings.SplitSeq("payload: "+payload.String(), "\n") {
		screen.Line(terminal.Plain, "%s", line)
	}
	return nil
}
