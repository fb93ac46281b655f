package inspect

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/compare"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const getHelp = `Show what DeviceTwins declare beside what the hub holds and what the device reports, leaf by leaf.

All of it comes from the objects' status, so it is as old as the last read of the twin, and what the status does not tell is
"unknown". A leaf that differs is marked "!", one of which it is unknown whether it does "?": also where a device has never
reported anything of what is desired of it. Values that look like credentials are not shown.

A DeviceTwinSet is named as set/NAME, or as NAME where no DeviceTwin has it: its rollout is shown, as kubectl twin rollout does.`

const getExamples = `  # one twin
  kubectl twin get thermostat-1

  # what differs, of all twins of a hub
  kubectl twin get --hub factory --differing

  # follow one
  kubectl twin get thermostat-1 --watch

  # how far a set is
  kubectl twin get set/line-7

  # fail in a pipeline if anything differs on the hub or on the device
  kubectl twin get -l line=7 --exit-code`

// get is what the command was called with.
type get struct {
	access    *cluster.Access
	selection cluster.Selection
	format    *terminal.Format
	watch     bool
	differing bool
	exitCode  bool
}

// NewGet returns the command get.
func NewGet(access *cluster.Access) *cobra.Command {
	g := &get{access: access, selection: cluster.Selection{WithSets: true}, format: terminal.NewFormat(terminal.JSON, terminal.YAML, terminal.Name, terminal.Wide)}
	cmd := &cobra.Command{
		Use: "get [NAME...]", Short: "Show twins as declared, on the hub and on the device", Long: getHelp, Example: getExamples,
		ValidArgsFunction: access.CompleteTwinsAndSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			g.selection.Names = args
			return g.run(cmd.Context())
		},
	}
	g.selection.AddFlags(cmd.Flags())
	g.format.AddFlag(cmd)
	cmd.Flags().BoolVarP(&g.watch, "watch", "w", false, "go on showing what changes, until interrupted")
	cmd.Flags().BoolVar(&g.differing, "differing", false, "only what differs")
	cmd.Flags().BoolVar(&g.exitCode, "exit-code", false, "end with 1 if anything differs, or the rollout of a set has not succeeded")
	return cmd
}

func (g *get) run(ctx context.Context) error {
	if err := g.selection.Check(false); err != nil {
		return err
	}
	if g.watch && (g.format.Structured() || g.exitCode) {
		return errors.New("--watch shows tables: leave --output and --exit-code out")
	}
	if g.watch && len(g.selection.Sets) > 0 {
		return errors.New("--watch follows DeviceTwins: `kubectl twin rollout SET --watch` follows a DeviceTwinSet")
	}
	namespace, err := g.access.Namespace()
	if err != nil {
		return err
	}
	c, err := g.access.Client()
	if err != nil {
		return err
	}
	if g.watch {
		return g.follow(ctx, c, namespace)
	}
	twins, sets, err := g.read(ctx, c, namespace)
	if err != nil {
		return err
	}
	if err := g.print(twins, sets, namespace); err != nil {
		return err
	}
	if g.exitCode && (slices.ContainsFunc(twins, (*compare.Twin).Differs) || slices.ContainsFunc(sets, unfinished)) {
		return cluster.ErrFound
	}
	return nil
}

func unfinished(r *rollout.Rollout) bool { return r.Result != rollout.Succeeded }

func (g *get) read(ctx context.Context, c client.Client, namespace string) ([]*compare.Twin, []*rollout.Rollout, error) {
	progress := g.access.Progress("reading DeviceTwins")
	defer progress.Stop()
	twins, sets := []*compare.Twin{}, []*rollout.Rollout{}
	readSet := func(name string) error {
		obj := &v1alpha1.DeviceTwinSet{}
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj)
		if err == nil && (!g.differing || unfinished(rollout.Of(obj))) {
			sets = append(sets, rollout.Of(obj))
		}
		return cluster.Explained(err)
	}
	_, err := g.selection.Each(ctx, c, namespace, func(obj *v1alpha1.DeviceTwin) error {
		progress.Add(1)
		t, err := compare.Of(obj)
		if err == nil && (!g.differing || t.Differs()) {
			twins = append(twins, t)
		}
		return err
	}, func(name string, missing error) error {
		if apierrors.IsNotFound(missing) && readSet(name) == nil {
			return nil
		}
		return missing
	})
	for _, name := range g.selection.Sets {
		if err == nil {
			err = readSet(name)
		}
	}
	return twins, sets, err
}

func (g *get) print(twins []*compare.Twin, sets []*rollout.Rollout, namespace string) error {
	switch {
	case g.format.Structured() && len(sets) > 0:
		return g.format.Print(g.access.Out, map[string]any{"items": twins, "sets": sets})
	case g.format.Structured():
		return g.format.Print(g.access.Out, map[string]any{"items": twins})
	case len(twins)+len(sets) == 0 && g.differing:
		g.access.Note("nothing differs, as far as the status tells")
	case len(twins)+len(sets) == 0:
		g.access.Note("%s", g.selection.None(namespace))
	}
	screen := g.access.Screen()
	blocks := &blocks{screen: screen}
	for _, t := range twins {
		if g.format.String() == terminal.Name {
			screen.Line(terminal.Plain, "%s/%s", cluster.TwinKind.Resource(), t.Name)
			continue
		}
		blocks.next()
		g.block(screen, t)
	}
	for _, r := range sets {
		if g.format.String() == terminal.Name {
			screen.Line(terminal.Plain, "%s/%s", cluster.SetKind.Resource(), r.Name)
			continue
		}
		blocks.next()
		printSet(g.limited(screen), r, g.access.Clock.Now())
	}
	return nil
}

// blocks puts an empty line between what is shown.
type blocks struct {
	screen *terminal.Screen
	begun  bool
}

func (b *blocks) next() {
	if b.begun {
		b.screen.Line(terminal.Plain, "")
	}
	b.begun = true
}

// block shows one twin.
func (g *get) block(screen *terminal.Screen, t *compare.Twin) {
	name := t.Name
	if g.selection.AllNamespaces {
		name = t.Namespace + "/" + name
	}
	device := "device " + t.Device
	if t.Module != "" {
		device = "module " + t.Module + " of " + device
	}
	screen.Line(terminal.Heading, "%s  %s of hub %s%s", name, device, t.Hub, connection(t))
	screen.Line(styleOf(t.Ready), "  Ready: %s%s", t.Ready, because(t, g.format.String() == terminal.Wide))
	table := terminal.NewTable(0, " ", "LEAF", "DECLARED", "HUB", "DEVICE").Keep(1)
	shown := 0
	for _, leaf := range t.Leaves {
		if g.differing && !leaf.Differs {
			continue
		}
		shown++
		table.Row(row(leaf)...)
	}
	if shown > 0 {
		g.limited(screen).Table(table)
	}
	for _, note := range t.Notes {
		screen.Line(terminal.Faint, "  %s", note)
	}
}

// limited is the screen, as wide as it takes where the user asks for it.
func (g *get) limited(screen *terminal.Screen) *terminal.Screen {
	if g.format.String() == terminal.Wide {
		return screen.Unlimited()
	}
	return screen
}

func row(leaf compare.Leaf) []terminal.Cell {
	sign, style := " ", terminal.Plain
	switch {
	case leaf.Differs:
		sign, style = "!", terminal.Bad
	case leaf.Uncertain:
		sign, style = "?", terminal.Warning
	}
	cells := []terminal.Cell{{Text: sign, Style: style}}
	for _, text := range []string{leaf.Path, leaf.Declared.Text(), leaf.Hub.Text(), leaf.Device.Text()} {
		cells = append(cells, terminal.Cell{Text: text, Style: style})
	}
	return cells
}

func because(t *compare.Twin, wide bool) string {
	if t.Reason == "" {
		return ": no controller has looked at it yet"
	}
	if t.Ready == "True" && !wide {
		return " (" + t.Reason + ")"
	}
	return " (" + t.Reason + "): " + t.Message
}

func connection(t *compare.Twin) string {
	if state := strings.ToLower(t.Connection); state != "" {
		return ", " + state + over(t.Connectivity)
	}
	return ""
}

func over(connectivity string) string {
	if connectivity == "" {
		return ""
	}
	return " over " + connectivity
}
