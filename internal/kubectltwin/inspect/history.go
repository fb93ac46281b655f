package inspect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/past"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const historyHelp = `Show the last writes to the hub for a DeviceTwin, newest first: when, which generation of the spec, the field manager that edited it
last, why, and which leaves. With -v, or -o wide, each leaf has its value before and after.

It comes from status.history, which has room for ten writes. Values that look like credentials are not shown, and long ones are cut.`

const historyExamples = `  # who changed what
  kubectl twin history thermostat-1

  # with values
  kubectl twin history thermostat-1 -v

  # when a leaf was written
  kubectl twin history thermostat-1 -o json`

// shownLeaves is how many leaves the table names of one write.
const shownLeaves = 3

// history is what the command was called with.
type history struct {
	access *cluster.Access
	format *terminal.Format
	values bool
}

// NewHistory returns the command history.
func NewHistory(access *cluster.Access) *cobra.Command {
	h := &history{access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML, terminal.Wide)}
	cmd := &cobra.Command{
		Use: "history NAME", Short: "Show what was written to the hub, when and why", Long: historyHelp, Example: historyExamples,
		Args: cobra.ExactArgs(1), ValidArgsFunction: access.CompleteTwin,
		RunE: func(cmd *cobra.Command, args []string) error { return h.run(cmd.Context(), args[0]) },
	}
	h.format.AddFlag(cmd)
	cmd.Flags().BoolVarP(&h.values, "values", "v", false, "show each leaf with its value before and after, as -o wide does")
	return cmd
}

func (h *history) run(ctx context.Context, name string) error {
	c, err := h.access.Client()
	if err != nil {
		return err
	}
	obj, err := h.access.Twin(ctx, c, name)
	if err != nil {
		return err
	}
	writes := past.Hidden(obj.Status.History)
	if h.format.Structured() {
		return h.format.Print(h.access.Out, map[string]any{"items": writes})
	}
	if len(writes) == 0 {
		h.access.Note("devicetwin/%s: nothing has been written to the hub, as far as status.history tells", obj.Name)
		return nil
	}
	h.print(writes)
	return nil
}

func (h *history) print(writes []v1alpha1.TwinWrite) {
	screen := h.access.Screen()
	if !h.values && h.format.String() != terminal.Wide {
		table := terminal.NewTable(0, headings...).Keep(whenColumn, leavesColumn)
		for i := range writes {
			table.Row(append(head(&writes[i]), terminal.Text("%s", leaves(&writes[i])), terminal.Text("%s", etags(&writes[i])))...)
		}
		screen.Table(table)
		return
	}
	screen = screen.Unlimited()
	for i := range writes {
		write := &writes[i]
		screen.Line(terminal.Heading, "%s  generation %d  %s by %s  etag %s", at(write), write.Generation, write.Cause, manager(write), etags(write))
		table := terminal.NewTable(2)
		for j := range write.Changes {
			change := &write.Changes[j]
			table.Row(terminal.Text("%s", change.Path), terminal.Text("%s", past.Text(change.Before)), terminal.Text("->"), terminal.Text("%s", past.Text(change.After)))
		}
		screen.Table(table)
		if write.Omitted > 0 {
			screen.Line(terminal.Faint, "  and %d more, which the status has no room for", write.Omitted)
		}
		if write.RequestID != "" {
			screen.Line(terminal.Faint, "  the hub's id of the request: %s", write.RequestID)
		}
	}
}

// headings are those of the table without values.
var headings = []string{"WHEN", "GENERATION", "MANAGER", "CAUSE", "LEAVES", "ETAGS"}

// When, and what, is told in full for as long as there is room.
const whenColumn, leavesColumn = 0, 4

func head(write *v1alpha1.TwinWrite) []terminal.Cell {
	return []terminal.Cell{
		terminal.Text("%s", at(write)), terminal.Text("%d", write.Generation), terminal.Text("%s", manager(write)), terminal.Text("%s", string(write.Cause)),
	}
}

func at(write *v1alpha1.TwinWrite) string { return write.Time.UTC().Format(time.RFC3339) }

func manager(write *v1alpha1.TwinWrite) string {
	if write.Manager == "" {
		return "-"
	}
	return write.Manager
}

func leaves(write *v1alpha1.TwinWrite) string {
	var names []string
	for i := range write.Changes[:min(shownLeaves, len(write.Changes))] {
		names = append(names, write.Changes[i].Path)
	}
	if more := len(write.Changes) - len(names) + int(write.Omitted); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

func etags(write *v1alpha1.TwinWrite) string { return write.ETagBefore + " -> " + write.ETagAfter }
