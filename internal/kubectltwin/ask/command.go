package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/request"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

const help = `Ask the hub which twins satisfy a condition of IoT Hub's query language: what would stand behind WHERE.

The manager asks, by TwinRequests that this command makes and deletes: it takes the right to create, watch and delete those in the
namespace, and no credential of the hub. The hub's index follows with delay, usually seconds. Each page of 100 twins counts against
the hub's rate of queries. Values that look like credentials are not shown.`

const examples = `  # the devices of a plant
  kubectl twin query "tags.location.plant = 'Redmond43'" --hub factory

  # some of each twin, as JSON
  kubectl twin query "properties.reported.connectivity = 'cellular'" --select tags.location,properties.reported -o json

  # how a condition is understood, and what it costs
  kubectl twin query "tags.ring = 'canary' AND NOT IS_DEFINED(tags.retired)" --explain --limit 1`

// The table is the default, and has a name as well.
const outputTable = "table"

// command is what it was called with.
type command struct {
	access      *cluster.Access
	format      *terminal.Format
	flags       request.Flags
	hub         string
	from        string
	selected    []string
	limit       int
	explain     bool
	credentials bool
}

// NewCommand returns the command query.
func NewCommand(access *cluster.Access) *cobra.Command {
	q := &command{access: access, format: terminal.NewFormat(outputTable, terminal.JSON, terminal.YAML, terminal.Name)}
	cmd := &cobra.Command{
		Use: "query WHERE", Short: "Ask the hub which twins satisfy a condition", Long: help, Example: examples, Args: cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return q.run(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&q.hub, "hub", "", "the HubConnection to ask: its name, or NAMESPACE/NAME; the only one of the namespace when left out")
	flags.StringVar(&q.from, "from", "devices", "what to select from: devices, or devices.modules")
	flags.StringSliceVar(&q.selected, "select", nil, "properties to show, such as tags.location,properties.desired; whole twins with -o json and -o yaml when left out")
	flags.IntVar(&q.limit, "limit", 0, "the most twins to show; 0 for all")
	flags.BoolVar(&q.explain, "explain", false, "tell on standard error how the condition was understood, and what it cost")
	flags.BoolVar(&q.credentials, "show-credentials", false, "show values that look like credentials")
	q.flags.AddFlags(flags)
	q.format.AddFlag(cmd)
	return cmd
}

func (q *command) run(ctx context.Context, where string) error {
	condition, err := query.ParseCondition(where)
	if err != nil {
		return fmt.Errorf("the condition: %w", err)
	}
	if q.limit < 0 {
		return fmt.Errorf("--limit %d: should be 0 or more", q.limit)
	}
	namespace, err := q.access.Namespace()
	if err != nil {
		return err
	}
	c, err := q.access.Client()
	if err != nil {
		return err
	}
	hub, err := cluster.FindHub(ctx, c, namespace, q.hub)
	if err != nil {
		return err
	}
	if q.explain {
		q.understood(condition)
	}
	asked := v1alpha1.TwinRequestQuery{HubRef: hub.Ref, Where: where, From: q.from, Select: q.columns()}
	rows, cost, err := q.ask(ctx, request.New(c, q.flags, hub.Labels()), namespace, asked)
	if err != nil {
		return err
	}
	if q.explain {
		q.access.Note("asked: %s\ncost: %s, %s", cost.Condition, terminal.Count(cost.Pages, "page"), terminal.Count(cost.Messages, "message"))
	}
	if cost.Unreadable > 0 {
		q.access.Note("left out: %s that the hub's index shows in a way that cannot be used", terminal.Count(cost.Unreadable, "twin"))
	}
	return q.print(rows)
}

// understood tells how the parser reads a condition, and what is probably not meant.
func (q *command) understood(condition *query.Condition) {
	q.access.Note("understood:\n%s", condition.Explain())
	for _, doubt := range condition.Doubts(q.from == "devices.modules") {
		q.access.Note("doubtful: %s", doubt)
	}
}

// columns are what to ask for: of what is not shown the hub need not answer.
func (q *command) columns() []string {
	switch {
	case len(q.selected) > 0:
		return q.selected
	case q.format.Structured():
		return nil
	case q.format.String() == terminal.Name:
		return []string{"deviceId"}
	}
	return []string{"connectionState", "tags"}
}

func (q *command) ask(ctx context.Context, asker *request.Client, namespace string, asked v1alpha1.TwinRequestQuery) ([]map[string]any, request.Cost, error) {
	progress := q.access.Progress("asking the hub")
	defer progress.Stop()
	rows := []map[string]any{}
	cost, err := asker.Rows(ctx, namespace, asked, q.limit, func(page []map[string]any) error {
		for _, row := range page {
			rows = append(rows, q.shown(row))
		}
		progress.Add(len(page))
		return nil
	})
	return rows, cost, err
}

// shown is what may be shown of a twin.
func (q *command) shown(row map[string]any) map[string]any {
	if q.credentials {
		return row
	}
	redacted, _ := credential.Redacted(row)
	shown, isObject := redacted.(map[string]any)
	if !isObject {
		return map[string]any{}
	}
	for _, id := range []string{"deviceId", "moduleId", "etag", "deviceEtag"} { // as chance has it, an id may look like one
		if value, found := row[id]; found {
			shown[id] = value
		}
	}
	return shown
}

func (q *command) print(rows []map[string]any) error {
	switch {
	case q.format.Structured():
		return q.format.Print(q.access.Out, map[string]any{"items": rows})
	case len(rows) == 0:
		q.access.Note("no twin satisfies the condition, as far as the hub's index shows")
		return nil
	}
	screen := q.access.Screen()
	if q.format.String() == terminal.Name {
		for _, row := range rows {
			screen.Line(terminal.Plain, "%s", id(row))
		}
		return nil
	}
	columns := q.columns()
	table := terminal.NewTable(0, append([]string{"ID"}, upper(columns)...)...)
	for _, row := range rows {
		cells := []terminal.Cell{terminal.Text("%s", id(row))}
		for _, column := range columns {
			cells = append(cells, terminal.Text("%s", cell(row, column)))
		}
		table.Row(cells...)
	}
	screen.Table(table)
	return nil
}

func upper(columns []string) []string {
	out := slices.Clone(columns)
	for i := range out {
		out[i] = strings.ToUpper(out[i])
	}
	return out
}

// id is a device's, or device/module.
func id(row map[string]any) string {
	device, _ := row["deviceId"].(string)
	if module, found := row["moduleId"].(string); found {
		return device + "/" + module
	}
	return device
}

// cell is what a twin has at a path, in one line: texts as they are, all else as JSON.
func cell(row map[string]any, column string) string {
	read, err := query.ParseProjection([]string{column})
	if err != nil {
		return "" // the manager has refused it before
	}
	value, found := read.At(row)
	if !found {
		return "-"
	}
	if object, isObject := value.(map[string]any); isObject {
		object = maps.Clone(object)
		delete(object, "$version")
		value = object
	}
	if text, isText := value.(string); isText {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}
