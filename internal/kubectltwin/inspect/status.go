package inspect

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const statusHelp = `Sum up a HubConnection, its DeviceTwins and DeviceTwinSets: how many are in which state and why, with examples; how much of the hub's
budget is used; how old the last read of the hub is; what moved last.

The twins are counted now; the numbers on the hub's use are those of the HubConnection's status, written once a minute at most.
Without the right to list DeviceTwins in all namespaces, those of the HubConnection's namespace are counted. The same goes for
DeviceTwinSets, which are listed with their phases.

A DeviceTwinSet is named as set/NAME, or as NAME where no HubConnection has it: its rollout is shown, as kubectl twin rollout does.`

const statusExamples = `  # one hub
  kubectl twin status factory

  # one set
  kubectl twin status set/line-7

  # fail in a pipeline unless hub, twins and sets are ready
  kubectl twin status factory --exit-code

  # for a program
  kubectl twin status factory -o json`

// status is what the command was called with.
type status struct {
	access   *cluster.Access
	format   *terminal.Format
	exitCode bool
}

// NewStatus returns the command status.
func NewStatus(access *cluster.Access) *cobra.Command {
	s := &status{access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML, terminal.Wide)}
	cmd := &cobra.Command{
		Use: "status {HUBCONNECTION | set/NAME}", Short: "Sum up a hub and its twins, or a set", Long: statusHelp, Example: statusExamples,
		Args: cobra.ExactArgs(1), ValidArgsFunction: access.CompleteHubOrSet,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args[0]) },
	}
	s.format.AddFlag(cmd)
	cmd.Flags().BoolVar(&s.exitCode, "exit-code", false, "end with 1 unless the hub and all its twins and sets are ready, or the set is")
	return cmd
}

// summary is what status shows.
type summary struct {
	Namespace  string                `json:"namespace"`
	Name       string                `json:"name"`
	HostName   string                `json:"hostName,omitempty"`
	Mode       string                `json:"mode,omitempty"`
	Conditions []metav1.Condition    `json:"conditions"`
	Twins      counts                `json:"twins"`
	Reasons    []*reasonCount        `json:"reasons"`
	Sets       *hubSets              `json:"sets"`
	LastMoves  []move                `json:"lastMoves"`
	Use        v1alpha1.HubUse       `json:"use"`
	Guard      *v1alpha1.GuardStatus `json:"guard,omitempty"`

	spec v1alpha1.HubConnectionSpec
}

type counts struct {
	Total     int `json:"total"`
	Ready     int `json:"ready"`
	Suspended int `json:"suspended"`
	Drifted   int `json:"drifted"`
	Contended int `json:"contended"`
	// Namespace is set when only that one could be counted.
	Namespace string `json:"onlyNamespace,omitempty"`
}

func (s *status) run(ctx context.Context, name string) error {
	namespace, err := s.access.Namespace()
	if err != nil {
		return err
	}
	c, err := s.access.Client()
	if err != nil {
		return err
	}
	if set, ok := cluster.SetKind.Named(name); ok {
		return s.set(ctx, c, client.ObjectKey{Namespace: namespace, Name: set})
	}
	in, rest, qualified := strings.Cut(name, "/")
	if qualified {
		namespace, name = in, rest
	}
	key, conn := client.ObjectKey{Namespace: namespace, Name: name}, &v1alpha1.HubConnection{}
	err = c.Get(ctx, key, conn)
	switch {
	case apierrors.IsNotFound(err) && !qualified && c.Get(ctx, key, &v1alpha1.DeviceTwinSet{}) == nil:
		return s.set(ctx, c, key)
	case err != nil:
		return cluster.Explained(err)
	}
	return s.hub(ctx, c, conn)
}

// hub sums up a HubConnection.
func (s *status) hub(ctx context.Context, c client.Client, conn *v1alpha1.HubConnection) error {
	key := client.ObjectKeyFromObject(conn)
	twins, only, err := s.count(ctx, c, key)
	if err != nil {
		return err
	}
	sum := summarize(conn, twins, only)
	if sum.Sets, err = s.sets(ctx, c, key); err != nil {
		return err
	}
	if s.format.Structured() {
		err = s.format.Print(s.access.Out, sum)
	} else {
		s.print(sum)
	}
	ready := meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) && sum.Twins.Ready == sum.Twins.Total && sum.Sets.ready()
	if err == nil && s.exitCode && !ready {
		return cluster.ErrFound
	}
	return err
}

// count counts the twins of a hub; only is the namespace, where no others may be listed.
func (s *status) count(ctx context.Context, c client.Client, hub types.NamespacedName) (twins *fleet, only string, err error) {
	progress := s.access.Progress("counting DeviceTwins")
	defer progress.Stop()
	for _, namespace := range []string{"", hub.Namespace} {
		twins, only = newFleet(), namespace
		err = cluster.EachTwin(ctx, c, func(obj *v1alpha1.DeviceTwin) error {
			progress.Add(1)
			if obj.Spec.HubRef.NamespaceOr(obj.Namespace) != hub.Namespace {
				return nil
			}
			name := obj.Name
			if obj.Namespace != hub.Namespace {
				name = obj.Namespace + "/" + name
			}
			twins.add(name, obj)
			return nil
		}, client.InNamespace(namespace), client.MatchingFields{"spec.hubRef.name": hub.Name})
		if !apierrors.IsForbidden(err) {
			break
		}
	}
	return twins, only, err
}

func summarize(conn *v1alpha1.HubConnection, twins *fleet, only string) *summary {
	return &summary{
		Namespace: conn.Namespace, Name: conn.Name, HostName: conn.Status.HostName, Mode: string(conn.Spec.Mode),
		Conditions: conn.Status.Conditions, Reasons: twins.byCount(), LastMoves: twins.moves, Use: conn.Status.HubUse, Guard: conn.Status.Guard,
		Twins: counts{
			Total: twins.total, Ready: twins.ready(), Suspended: twins.suspended, Drifted: twins.drifted, Contended: twins.contended, Namespace: only,
		},
		spec: conn.Spec,
	}
}

// screen is as wide as it takes where the user asks for it.
func (s *status) screen() *terminal.Screen {
	if s.format.String() == terminal.Wide {
		return s.access.Screen().Unlimited()
	}
	return s.access.Screen()
}

func (s *status) print(sum *summary) {
	screen := s.screen()
	s.printHub(screen, sum)
	s.printTwins(screen, sum)
	s.printSets(screen, sum)
	s.printUse(screen, sum)
	if len(sum.LastMoves) == 0 {
		return
	}
	screen.Heading("Last moved")
	table := terminal.NewTable(2)
	for _, m := range sum.LastMoves {
		table.Row(terminal.Text("%s ago", duration.HumanDuration(ago(s.access.Clock.Now(), m.At))), terminal.Text("%s", m.Name),
			terminal.Text("%s=%s", m.Condition, m.Status), terminal.Text("%s", m.Reason))
	}
	screen.Table(table)
}

func (s *status) printHub(screen *terminal.Screen, sum *summary) {
	screen.Line(terminal.Heading, "HubConnection %s/%s  %s", sum.Namespace, sum.Name, sum.HostName)
	table := terminal.NewTable(2).Sentences()
	if len(sum.Conditions) == 0 {
		table.Row(terminal.Styled(terminal.Warning, "Ready"), terminal.Text("Unknown"), terminal.Text("no controller has looked at it yet"))
	}
	for _, c := range sum.Conditions {
		style := terminal.Warning
		if c.Type == v1alpha1.ConditionReady {
			style = styleOf(string(c.Status))
		}
		table.Row(terminal.Styled(style, "%s", c.Type), terminal.Text("%s", c.Status), terminal.Text("%s: %s", c.Reason, c.Message))
	}
	if sum.spec.Mode == v1alpha1.ModeReadOnly {
		table.Row(terminal.Text("Mode"), terminal.Text("%s", sum.Mode), terminal.Text("nothing is written to the hub"))
	}
	screen.Table(table)
}

func styleOf(ready string) terminal.Style {
	switch ready {
	case string(metav1.ConditionTrue):
		return terminal.Good
	case string(metav1.ConditionFalse):
		return terminal.Bad
	}
	return terminal.Warning
}

func (s *status) printTwins(screen *terminal.Screen, sum *summary) {
	of := ""
	if sum.Twins.Namespace != "" {
		of = " of namespace " + sum.Twins.Namespace + " alone: no others may be listed"
	}
	screen.Heading("DeviceTwins%s", of)
	screen.Line(terminal.Plain, "  %d in all, %d ready, %d suspended, %d drifted, %d contended",
		sum.Twins.Total, sum.Twins.Ready, sum.Twins.Suspended, sum.Twins.Drifted, sum.Twins.Contended)
	if sum.Twins.Total == 0 {
		return
	}
	table := terminal.NewTable(2, "READY", "REASON", "TWINS", "EXAMPLES")
	for _, r := range sum.Reasons {
		table.Row(terminal.Styled(styleOf(r.Ready), "%s", r.Ready), terminal.Text("%s", r.Reason), terminal.Text("%d", r.Count),
			terminal.Text("%s", strings.Join(r.Examples, ", ")))
	}
	screen.Table(table)
	for _, r := range sum.Reasons {
		if r.Ready == string(metav1.ConditionFalse) {
			screen.Line(terminal.Faint, "  %s, such as %s: %s", r.Reason, r.Examples[0], r.Message)
		}
	}
}

func (s *status) printUse(screen *terminal.Screen, sum *summary) {
	screen.Heading("Use of the hub")
	table, use, now := terminal.NewTable(2).Sentences(), sum.Use, s.access.Clock.Now()
	budget := "unknown"
	if use.QuotaDay != "" {
		budget = terminal.Text("%d%% of the operator's share of the messages of %s", use.QuotaUsedPercent, use.QuotaDay).Text
	}
	table.Row(terminal.Text("Budget"), terminal.Text("%s (%s, %s; %d%% of the rates, %d%% of the daily messages)", budget,
		sum.spec.Tier.SKU, terminal.Count(sum.spec.Tier.Units, "unit"), sum.spec.Budget.RatePercent, sum.spec.Budget.DailyMessagesPercent))
	backlog := terminal.Text("%d wait", use.Backlog)
	if use.BacklogEndsAt != nil {
		backlog.Text += ", until " + use.BacklogEndsAt.Format("15:04:05 MST")
	}
	table.Row(terminal.Text("Backlog"), backlog)
	table.Row(terminal.Text("Read back"), readBack(sum, now))
	if guard := sum.spec.Guard; guard != nil {
		text := terminal.Text("%s an hour", terminal.Count(guard.MaxChangesPerHour, "changed twin"))
		if sum.Guard != nil && sum.Guard.TrippedAt != nil {
			text = terminal.Styled(terminal.Bad, "tripped %s ago at %s, %d wait: `kubectl twin approve %s -n %s` lets them go on",
				duration.HumanDuration(ago(now, *sum.Guard.TrippedAt)), terminal.Count(sum.Guard.Limit, "twin"), sum.Guard.Waiting, sum.Name, sum.Namespace)
		}
		table.Row(terminal.Text("Guard"), text)
	}
	screen.Table(table)
}

// readBack says how old the last read of the whole hub is. The status tells the time only while it is late.
func readBack(sum *summary, now time.Time) terminal.Cell {
	use := sum.Use
	late := meta.IsStatusConditionTrue(sum.Conditions, v1alpha1.ConditionReadBackLate)
	if late && use.ReadBackAsOf != nil {
		return terminal.Styled(terminal.Bad, "late: last complete %s ago", duration.HumanDuration(ago(now, *use.ReadBackAsOf)))
	}
	if use.EffectiveInterval.Duration == 0 {
		return terminal.Styled(terminal.Warning, "unknown")
	}
	text := terminal.Text("every %s, a full sweep every %s; not late, so at most three times that old", use.EffectiveInterval.Duration, use.EffectiveFullSweepInterval.Duration)
	if use.EffectiveIntervalReason != "" {
		text.Text += " (longer than declared: " + use.EffectiveIntervalReason + ")"
	}
	return text
}
