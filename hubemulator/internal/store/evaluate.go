package store

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// Evaluation is what one evaluation of all configurations came to.
type Evaluation struct {
	// Configurations is how many there were.
	Configurations int
	// Written is how many twins did not hold what they should, and do now.
	Written int
	// Refused is how many twins could not take what they should hold, for
	// instance because it would be too large for them; Refusal is why, of the
	// last one.
	Refused int
	Refusal error
}

// evaluation is a run over all twins.
type evaluation struct {
	*Store
	result Evaluation
	ranked []ranked
	// composed is what sets of configurations want, by their ids.
	composed map[string]composition
	// last are the statuses in the twin before: most are alike.
	last map[string]string
}

// ranked is a configuration in the order of precedence.
type ranked struct {
	configuration.Configuration
	target configuration.Target
}

// EvaluateConfigurations applies all configurations to the twins that they
// target, sets their status there, and counts their metrics. It sees twins as
// queries do. When ctx ends it stops between two twins.
func (s *Store) EvaluateConfigurations(ctx context.Context) (Evaluation, error) {
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	run := evaluation{Store: s, composed: map[string]composition{}}
	if err := run.rank(); err != nil || len(run.ranked) == 0 {
		return run.result, err
	}
	run.result.Configurations = len(run.ranked)
	for id, seen := range s.Scan(Devices, ID{}) {
		if ctx.Err() != nil {
			return run.result, context.Cause(ctx)
		}
		run.visit(id, seen, configuration.Devices)
		run.visitEdge(id, seen)
	}
	for id, seen := range s.Scan(Modules, ID{}) {
		if ctx.Err() != nil {
			return run.result, context.Cause(ctx)
		}
		run.visit(id, seen, configuration.Modules)
	}
	return run.result, run.countMetrics(ctx)
}

// rank takes the configurations that there are now.
func (r *evaluation) rank() error {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.configurations))
	r.mu.Unlock()
	configuration.Rank(all)
	for _, c := range all {
		target, err := c.Target()
		if err != nil {
			return err // none is kept whose condition was not checked
		}
		r.ranked = append(r.ranked, ranked{c, target})
	}
	return nil
}

// targeting are the configurations of a kind that select a twin.
func (r *evaluation) targeting(seen *Snapshot, kind configuration.Kind) []ranked {
	var found []ranked
	for _, c := range r.ranked {
		if c.Content.Kind() == kind && c.target.Selects(seen) {
			found = append(found, c)
		}
	}
	return found
}

// visit applies configurations of devices or of modules to one.
func (r *evaluation) visit(id ID, seen *Snapshot, kind configuration.Kind) {
	targeting := r.targeting(seen, kind)
	if len(targeting) == 0 && len(seen.twin.configurations) == 0 {
		return
	}
	r.count(r.locked(func() error {
		found := r.lookup(id)
		if found == nil {
			return nil // deleted since it was seen
		}
		targeting = r.stillThere(targeting)
		wanted := r.compose(targeting)
		err := r.apply(found, wanted.desired)
		r.setStatuses(found, kind, targeting, wanted.effective, err == nil)
		return err
	}))
}

// composition is what configurations together want of one twin.
type composition struct {
	desired   wants
	effective []bool
}

// compose works out what configurations want together, once for all twins that
// the same ones target.
func (r *evaluation) compose(targeting []ranked) composition {
	ids := make([]string, 0, len(targeting))
	for _, c := range targeting {
		ids = append(ids, c.ID)
	}
	key := strings.Join(ids, "/") // which is no part of an id
	if known, found := r.composed[key]; found {
		return known
	}
	contents := make([]map[string]any, 0, len(targeting))
	for _, c := range targeting {
		contents = append(contents, c.Content.OfOne())
	}
	desired, effective := configuration.Compose(contents)
	desired.Whole = false
	wanted := composition{wantedBy(desired, targeting), effective}
	r.composed[key] = wanted
	return wanted
}

func (r *evaluation) apply(d *entry, desired wants) error {
	write, err := r.planDesired(d.twin, desired)
	if err == nil && write.differs {
		r.setTwin(d, write.next, write.wanted)
		r.result.Written++
	}
	return err
}

// visitEdge applies deployments to the modules of an edge device.
func (r *evaluation) visitEdge(id ID, seen *Snapshot) {
	if !seen.identity.iotEdge || !slices.ContainsFunc(r.ranked, func(c ranked) bool { return c.Content.Kind() == configuration.Edge }) {
		return
	}
	targeting := r.targeting(seen, configuration.Edge)
	r.count(r.locked(func() error {
		device := r.lookup(id)
		if device == nil || !device.identity.iotEdge {
			return nil // no more since it was seen
		}
		targeting = r.stillThere(targeting)
		contents := make([]configuration.Content, 0, len(targeting))
		for _, c := range targeting {
			contents = append(contents, c.Content)
		}
		composed, effective := configuration.ComposeEdge(contents)
		modules := make(map[string]wants, len(composed))
		for name, desired := range composed {
			modules[name] = wantedBy(desired, targeting)
		}
		err := r.applyModules(device, modules)
		r.setStatuses(device.modules[edgeAgent], configuration.Edge, targeting, effective, err == nil)
		return err
	}))
}

func (r *evaluation) applyModules(device *entry, modules map[string]wants) error {
	if len(modules) == 0 {
		return nil
	}
	plan, err := r.planModules(device, modules)
	if err == nil {
		r.result.Written += r.makeModules(device, plan, true)
	}
	return err
}

// count notes whether a twin could take what it should hold.
func (r *evaluation) count(refusal error) {
	if refusal != nil {
		r.result.Refused++
		r.result.Refusal = refusal
	}
}

// stillThere leaves out what was deleted, or created anew, during the run.
func (r *evaluation) stillThere(found []ranked) []ranked {
	return slices.DeleteFunc(found, func(c ranked) bool {
		now, known := r.configurations[c.ID]
		return !known || !now.Created.Equal(c.Created)
	})
}

// The status of a configuration in a twin that it targets.
const (
	statusApplied  = "Applied"
	statusTargeted = "Targeted" // but others win, or the twin cannot take it
)

// setStatuses makes a twin say which configurations of a kind target it.
func (r *evaluation) setStatuses(d *entry, kind configuration.Kind, targeting []ranked, effective []bool, applied bool) {
	statuses := map[string]string{}
	for id, status := range d.twin.configurations {
		if other, known := r.configurations[id]; known && other.Content.Kind() != kind {
			statuses[id] = status
		}
	}
	for i, c := range targeting {
		statuses[c.ID] = statusTargeted
		if effective[i] && applied {
			statuses[c.ID] = statusApplied
		}
	}
	if maps.Equal(statuses, d.twin.configurations) {
		return
	}
	if maps.Equal(statuses, r.last) {
		statuses = r.last
	}
	r.last = statuses
	d.edit().twin.configurations = statuses
	r.changed(d)
}

// forgetStatus takes a configuration's status from a twin.
func (s *Store) forgetStatus(d *entry, id string) {
	if _, known := d.twin.configurations[id]; !known {
		return
	}
	statuses := maps.Clone(d.twin.configurations)
	delete(statuses, id)
	d.edit().twin.configurations = statuses
	s.changed(d)
}

// configurationStatuses is the part of a twin's document with the status of
// each configuration that targets it.
func (t twin) configurationStatuses() twindoc.Object {
	statuses := make(twindoc.Object, 0, len(t.configurations))
	for _, id := range slices.Sorted(maps.Keys(t.configurations)) {
		statuses = statuses.With(id, twindoc.Object{}.With("status", t.configurations[id]))
	}
	return statuses
}

// configurationProperty is the part of configurationStatuses at a path.
func (t twin) configurationProperty(path []string) (any, bool) {
	if len(path) == 0 {
		return t.configurationStatuses().Values(), len(t.configurations) > 0
	}
	status, known := t.configurations[path[0]]
	if !known {
		return nil, false
	}
	if len(path) > 1 && path[1] == "status" {
		return twindoc.Below(status, path[2:])
	}
	return twindoc.Below(map[string]any{"status": status}, path[1:])
}
