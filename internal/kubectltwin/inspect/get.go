package inspect

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/compare"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const getHelp = `Show what DeviceTwins declare beside what the hub holds and what the device reports, leaf by leaf.

All of it comes from the objects' status, so it is as old as the last read of the twin, and what the status does not tell is
"unknown". A leaf that differs is marked "!", one of which it is unknown whether it does "?": also where a device has never
reported anything of what is desired of it. Values that look like credentials are not shown.`

const getExamples = `  # one twin
  kubectl twin get thermostat-1

  # what differs, of all twins of a hub
  kubectl twin get --hub factory --differing

  # follow one
  kubectl twin get thermostat-1 --watch

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
	g := &get{access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML, terminal.Name, terminal.Wide)}
	cmd := &cobra.Command{
		Use: "get [NAME...]", Short: "Show twins as declared, on the hub and on the device", Long: getHelp, Example: getExamples,
		ValidArgsFunction: access.CompleteTwins,
		RunE: func(cmd *cobra.Command, args []string) error {
			g.selection.Names = args
			return g.run(cmd.Context())
		},
	}
	g.selection.AddFlags(cmd.Flags())
	g.format.AddFlag(cmd)
	cmd.Flags().BoolVarP(&g.watch, "watch", "w", false, "go on showing what changes, until interrupted")
	cmd.Flags().BoolVar(&g.differing, "differing", false, "only what differs")
	cmd.Flags().BoolVar(&g.exitCode, "exit-code", false, "end with 1 if anything differs")
	return cmd
}

func (g *get) run(ctx context.Context) error {
	if err := g.selection.Check(false); err != nil {
		return err
	}
	if g.watch && (g.format.Structured() || g.exitCode) {
		return errors.New("--watch shows tables: leave --output and --exit-code out")
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
	twins, err := g.read(ctx, c, namespace)
	if err != nil {
		return err
	}
	if err := g.print(twins, namespace); err != nil {
		return err
	}
	for _, t := range twins {
		if g.exitCode && t.Differs() {
			return cluster.ErrFound
		}
	}
	return nil
}

func (g *get) read(ctx context.Context, c client.Client, namespace string) ([]*compare.Twin, error) {
	progress := g.access.Progress("reading DeviceTwins")
	defer progress.Stop()
	twins := []*compare.Twin{}
	_, err := g.selection.Each(ctx, c, namespace, func(obj *v1alpha1.DeviceTwin) error {
		progress.Add(1)
		t, err := compare.Of(obj)
		if err == nil && (!g.differing || t.Differs()) {
			twins = append(twins, t)
		}
		return err
	}, func(_ string, err error) error { return err })
	return twins, err
}

func (g *get) print(twins []*compare.Twin, namespace string) error {
	switch {
	case g.format.Structured():
		return g.format.Print(g.access.Out, map[string]any{"items": twins})
	case len(twins) == 0 && g.differing:
		g.access.Note("nothing differs, as far as the status tells")
	case len(twins) == 0:
		g.access.Note("%s", g.selection.None(namespace))
	}
	screen := g.access.Screen()
	for i, t := range twins {
		if g.format.String() == terminal.Name {
			screen.Line(terminal.Plain, "devicetwin.iothub.devicetwin.io/%s", t.Name)
			continue
		}
		if i > 0 {
			screen.Line(terminal.Plain, "")
		}
		g.block(screen, t)
	}
	return nil
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
