package store

import (
	"context"
	"maps"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// metric counts the rows of one query.
type metric struct {
	query  *query.Query
	rows   int
	groups *query.Aggregation // instead of rows when the query aggregates
}

func newMetric(text string) (*metric, error) {
	if text == "" {
		return &metric{}, nil // of a configuration without targets
	}
	parsed, err := configuration.ParseMetric(text)
	if err != nil {
		return nil, err
	}
	counted := &metric{query: parsed}
	if parsed.Aggregates() {
		counted.groups = parsed.Aggregation()
	}
	return counted, nil
}

func (m *metric) isOver(source Source) bool {
	return m.query != nil && m.query.Modules() == (source == Modules)
}

func (m *metric) add(seen *Snapshot) {
	switch {
	case !m.query.Selects(seen):
	case m.groups != nil:
		m.groups.Add(seen)
	default:
		m.rows++
	}
}

// count is how many rows the query has.
func (m *metric) count() int {
	rows := m.rows
	if m.groups != nil {
		rows = len(m.groups.Groups())
	}
	if m.query != nil && m.query.Top() > 0 {
		return min(rows, m.query.Top())
	}
	return rows
}

// metrics are those of one configuration, by their names.
type metrics struct{ system, custom map[string]*metric }

func metricsOf(c configuration.Configuration) (metrics, error) {
	all := metrics{system: map[string]*metric{}, custom: map[string]*metric{}}
	var err error
	for name, text := range c.SystemMetrics() {
		if all.system[name], err = newMetric(text); err != nil {
			return metrics{}, err
		}
	}
	for name, text := range c.Metrics {
		if all.custom[name], err = newMetric(text); err != nil {
			return metrics{}, err
		}
	}
	return all, nil
}

// countMetrics runs the queries of all metrics at once: one scan of devices and
// one of modules.
func (r *evaluation) countMetrics(ctx context.Context) error {
	all := map[string]metrics{}
	for _, c := range r.ranked {
		counted, err := metricsOf(c.Configuration)
		if err != nil {
			return err // none is kept whose queries were not checked
		}
		all[c.ID] = counted
	}
	for _, source := range []Source{Devices, Modules} {
		var over []*metric
		for _, counted := range all {
			for _, m := range slices.AppendSeq(slices.Collect(maps.Values(counted.system)), maps.Values(counted.custom)) {
				if m.isOver(source) {
					over = append(over, m)
				}
			}
		}
		if len(over) == 0 {
			continue
		}
		for _, seen := range r.Scan(source, ID{}) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			for _, m := range over {
				m.add(seen)
			}
		}
	}
	r.setResults(all)
	return nil
}

func (r *evaluation) setResults(all map[string]metrics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.stillThere(slices.Clone(r.ranked)) {
		now, system, custom := r.configurations[c.ID], counts(all[c.ID].system), counts(all[c.ID].custom)
		switch {
		case now.Writes != c.Writes:
			continue // it is evaluated anew soon
		case now.SystemResults != nil && maps.Equal(system, now.SystemResults) && maps.Equal(custom, now.Results):
			continue // nothing to be saved anew
		}
		now.SystemResults, now.Results = system, custom
		r.configurations[c.ID] = now
		r.revision++
	}
}

func counts(all map[string]*metric) map[string]int {
	results := make(map[string]int, len(all))
	for name, m := range all {
		results[name] = m.count()
	}
	return results
}
