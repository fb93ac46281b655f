package imports

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/request"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

const help = `Write manifests of DeviceTwins that declare what twins hold already, for one twin or for thousands: applying them writes nothing
to the hub. What is to be declared is chosen: with --tags and --desired, whole or by paths below.

With --out each twin has a file of its own in a folder, beside a kustomization.yaml of all of them; files that are the same already
are left alone, so that the command may be run again. Otherwise one list goes to standard output. A DeviceTwin is called after its
device; an id that is no name of an object gets a short hash, always the same.

With --set it is one DeviceTwinSet for all of them: it selects by --where, and declares the leaves that all twins hold alike. Leaves
that differ, and leaves that --where reads, are named on standard error with a device or two; --overrides has DeviceTwins declare those that differ, one
for each twin that holds any. spec.maxDevices is a tenth more than there are now. Applying it writes to each twin the set's own note alone, the
tag deviceTwinSets, which is never imported.

The manager reads the twins, page by page, by TwinRequests that this command makes and deletes. The hub's index follows with delay,
usually seconds: what was written just before may be missing. What twins hold is written as it is, credentials included.`

const examples = `  # two tags and all desired properties of a plant's devices
  kubectl twin import --hub factory --where "tags.location.plant = 'Redmond43'" --tags location,owner --desired --out twins
  kubectl twin diff -k twins && kubectl apply -k twins

  # one set for all devices of a plant
  kubectl twin import --hub factory --where "tags.location.plant = 'Redmond43'" --tags '*' --desired --set redmond43 > redmond43.yaml

  # look only, at first
  kubectl twin import --hub factory --where "IS_DEFINED(deviceId)" --tags '*' --policy Observe | kubectl apply -f -`

// importer is what the command was called with.
type importer struct {
	access  *cluster.Access
	format  *terminal.Format
	flags   request.Flags
	hubFlag string
	where   string
	from    string
	out     string
	policy  string
	labels  map[string]string
	limit   int

	set       string
	overrides bool

	tags, desired parts
	hub           cluster.Hub
}

// NewCommand returns the command import.
func NewCommand(access *cluster.Access) *cobra.Command {
	i := &importer{
		access: access, format: terminal.NewFormat(terminal.JSON, terminal.YAML),
		tags: parts{flag: "tags", above: []string{"tags"}}, desired: parts{flag: "desired", above: []string{"properties", "desired"}},
	}
	cmd := &cobra.Command{
		Use: "import --where WHERE", Short: "Write manifests of twins as they are", Long: help, Example: examples, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return i.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&i.hubFlag, "hub", "", "the HubConnection to ask: its name, or NAMESPACE/NAME; the only one of the namespace when left out")
	flags.StringVar(&i.where, "where", "", "the condition that selects the twins, in IoT Hub's query language; IS_DEFINED(deviceId) for all")
	flags.StringVar(&i.from, "from", "devices", "what to select from: devices, or devices.modules")
	flags.StringSliceVar(&i.tags.texts, i.tags.flag, nil, "tags to declare, by keys joined by dots, such as location,owner.team; * for all")
	flags.StringSliceVar(&i.desired.texts, i.desired.flag, nil, "desired properties to declare, as in --desired=telemetry.interval; all without a value")
	flags.Lookup(i.desired.flag).NoOptDefVal = everything
	flags.StringVar(&i.policy, "policy", "", "spec.policy of the DeviceTwins: Enforce, Yield, Initialize or Observe; left out when empty, which is Enforce")
	flags.StringToStringVar(&i.labels, "labels", nil, "labels of the DeviceTwins")
	flags.StringVar(&i.out, "out", "", "folder to write to, a file for each twin")
	flags.StringVar(&i.set, "set", "", "write one DeviceTwinSet of this name, which selects by --where and declares what all twins hold alike")
	flags.BoolVar(&i.overrides, "overrides", false, "with --set, also DeviceTwins that declare what twins do not hold alike")
	flags.IntVar(&i.limit, "limit", 0, "the most twins to import; 0 for all")
	i.flags.AddFlags(flags)
	i.format.AddFlag(cmd)
	return cmd
}

func (i *importer) run(ctx context.Context) error {
	columns, err := i.columns()
	if err != nil {
		return err
	}
	namespace, err := i.access.Namespace()
	if err != nil {
		return err
	}
	c, err := i.access.Client()
	if err != nil {
		return err
	}
	if i.hub, err = cluster.FindHub(ctx, c, namespace, i.hubFlag); err != nil {
		return err
	}
	asked := v1alpha1.TwinRequestQuery{HubRef: i.hub.Ref, Where: i.where, From: i.from, Select: columns}
	asker := request.New(c, i.flags, i.hub.Labels())
	if i.hub.Object == nil && len(i.tags.texts) > 0 {
		i.access.Note("HubConnection %s may not be read: take its owner tag, if it has one, out of what is written", i.hub.Ref.Name)
	}
	found := &collection{ids: map[string]string{}}
	documents, err := i.documents(ctx, asker, namespace, asked, found)
	if err != nil {
		return err
	}
	if err := i.write(documents); err != nil {
		return err
	}
	for _, why := range found.refused {
		i.access.Note("not imported: %s", why)
	}
	if len(found.refused) > 0 {
		return cluster.ErrFound
	}
	return nil
}

// documents are what is to be written: a DeviceTwin for each twin in the order of their names, or a DeviceTwinSet and those beside it.
func (i *importer) documents(ctx context.Context, asker *request.Client, namespace string, asked v1alpha1.TwinRequestQuery, found *collection) ([]document, error) {
	documents := []document{}
	if i.set == "" {
		if err := i.read(ctx, asker, namespace, asked, found, found.take); err != nil {
			return nil, err
		}
	} else {
		set, err := i.newSet(namespace)
		if err != nil {
			return nil, err
		}
		if err := i.read(ctx, asker, namespace, asked, found, set.take); err != nil {
			return nil, err
		}
		made, err := set.finish(found)
		if err != nil {
			return nil, err
		}
		documents = append(documents, made)
	}
	slices.SortFunc(found.manifests, func(a, b manifest) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	for _, m := range found.manifests {
		documents = append(documents, m)
	}
	return documents, nil
}

// columns are what to ask for, once all that the user gives is held against the rules.
func (i *importer) columns() ([]string, error) {
	if i.where == "" {
		return nil, errors.New("which twins? select them with --where, IS_DEFINED(deviceId) for all")
	}
	if _, err := query.ParseCondition(i.where); err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	policies := []string{"", string(v1alpha1.PolicyEnforce), string(v1alpha1.PolicyYield), string(v1alpha1.PolicyInitialize), string(v1alpha1.PolicyObserve)}
	if !slices.Contains(policies, i.policy) {
		return nil, fmt.Errorf("--policy %q: should be one of%s", i.policy, strings.Join(policies, " "))
	}
	if err := i.checkSet(); err != nil {
		return nil, err
	}
	if i.limit < 0 {
		return nil, fmt.Errorf("--limit %d: should be 0 or more", i.limit)
	}
	tags, err := i.tags.columns()
	if err != nil {
		return nil, err
	}
	desired, err := i.desired.columns()
	if err != nil {
		return nil, err
	}
	if i.tags.names(v1alpha1.SetMarkerTag) {
		return nil, fmt.Errorf("--tags: %s is the tag in which DeviceTwinSets note what they wrote: leave it out", v1alpha1.SetMarkerTag)
	}
	columns := slices.Concat(tags, desired)
	if len(columns) == 0 {
		return nil, errors.New("what is to be declared? choose it with --tags, --desired or both")
	}
	if _, err := query.ParseProjection(columns); err != nil {
		return nil, fmt.Errorf("--tags and --desired: %w", err)
	}
	return columns, nil
}

// read reads the twins, and says which cannot be read.
func (i *importer) read(
	ctx context.Context, asker *request.Client, namespace string, asked v1alpha1.TwinRequestQuery, found *collection, take func(manifest),
) error {
	progress := i.access.Progress("reading twins")
	defer progress.Stop()
	count := 0
	cost, err := asker.Rows(ctx, namespace, asked, i.limit, func(rows []map[string]any) error {
		for _, row := range rows {
			take(i.manifestOf(row))
		}
		count += len(rows)
		progress.Add(len(rows))
		return nil
	})
	if err != nil {
		return err
	}
	if cost.Unreadable > 0 {
		found.refused = append(found.refused, fmt.Sprintf("%s that the hub's index shows in a way that cannot be used", terminal.Count(cost.Unreadable, "twin")))
	}
	i.access.Note("%s, for %s in %s", terminal.Count(count, "twin"), terminal.Count(cost.Messages, "message"), terminal.Count(cost.Pages, "page"))
	return nil
}

func (i *importer) write(documents []document) error {
	if i.out == "" {
		if i.format.String() == "" {
			if err := i.format.Set(terminal.YAML); err != nil {
				return err
			}
		}
		if i.set != "" && !i.overrides {
			return i.format.Print(i.access.Out, documents[0])
		}
		return i.format.Print(i.access.Out, map[string]any{"apiVersion": "v1", "kind": "List", "items": documents})
	}
	written, err := write(i.out, documents)
	if err != nil {
		return err
	}
	i.access.Note("%s written to %s, %d the same already", terminal.Count(written, "file"), i.out, len(documents)-written)
	err = kustomize(i.out)
	if errors.Is(err, errNotOurs) {
		i.access.Note("%s: %v; name the new files there", i.out, err)
		return nil
	}
	return err
}
