package query

import (
	"maps"
	"math"
	"slices"
)

// aggregate is a function over the twins of a group.
type aggregate string

const (
	count   aggregate = "COUNT"
	average aggregate = "AVG"
	sum     aggregate = "SUM"
	least   aggregate = "MIN"
	most    aggregate = "MAX"
)

var aggregates = [...]aggregate{count, average, sum, least, most}

// Group is a row that stands for several twins.
type Group struct {
	// Key tells the group from the others of the query and orders them: by
	// the values behind GROUP BY, missing ones first, then null, booleans,
	// numbers, strings, arrays and objects. It is binary, at most 256 bytes
	// long, and the same whenever the query runs.
	Key string
	Row map[string]any
}

// Aggregation collects the rows of a query that aggregates.
type Aggregation struct {
	query  *Query
	groups map[string]*group
	key    []byte // reused
}

// group is a row in the making.
type group struct {
	row     map[string]any
	results []result // one for each column
}

// Aggregation returns an empty aggregation. It is for queries that aggregate.
func (q *Query) Aggregation() *Aggregation {
	a := &Aggregation{query: q, groups: map[string]*group{}}
	if len(q.groupBy) == 0 {
		a.group(nil, nil) // there is a row even for no twins at all
	}
	return a
}

// Add takes in one twin that the query's condition selects. The document is
// not used after Add returns; values that it gave out are.
func (a *Aggregation) Add(doc Document) {
	a.key = a.key[:0]
	for _, by := range a.query.groupBy {
		value, defined := doc.Property(by.names)
		a.key = appendKey(a.key, value, defined)
	}
	g := a.group(boundedKey(a.key), doc)
	for i, item := range a.query.columns {
		if item.function == count {
			g.results[i].count++
		} else if value, defined := doc.Property(item.path.names); defined && item.function != "" {
			g.results[i].add(item.function, value)
		}
	}
}

// group finds or founds a group. All its twins agree on the selected properties.
func (a *Aggregation) group(key []byte, doc Document) *group {
	if g, found := a.groups[string(key)]; found {
		return g
	}
	g := &group{row: map[string]any{}, results: make([]result, len(a.query.columns))}
	if doc != nil {
		for _, item := range a.query.columns {
			value, defined := doc.Property(item.path.names)
			if item.function == "" && defined {
				g.row[item.name] = value
			}
		}
	}
	a.groups[string(key)] = g
	return g
}

// Groups returns all rows in the order of their keys. A result that there is
// none of, such as the average of nothing, is missing from its row.
func (a *Aggregation) Groups() []Group {
	groups := make([]Group, 0, len(a.groups))
	for _, key := range slices.Sorted(maps.Keys(a.groups)) {
		g := a.groups[key]
		row := maps.Clone(g.row)
		for i, item := range a.query.columns {
			if value, defined := g.results[i].value(item.function); defined {
				row[item.name] = value
			}
		}
		groups = append(groups, Group{Key: key, Row: row})
	}
	return groups
}

// result is what becomes of one aggregate in one group. What is no number has
// no part in AVG and SUM; what is no number, string, boolean or null has none
// in MIN and MAX, which order values of different types like group keys.
type result struct {
	count       int // of the twins for COUNT(), else of the numbers
	sum         float64
	least, most extreme
}

// extreme is a value with the key that orders it; there is none before the
// first value.
type extreme struct {
	key   string
	value any
}

func (r *result) add(function aggregate, value any) {
	switch primitive := normalize(value).(type) {
	case float64:
		r.count++
		r.sum += primitive
	case string, bool, nil:
	default:
		return
	}
	if function != least && function != most {
		return
	}
	key := string(appendKey(nil, value, true))
	if r.least.key == "" || key < r.least.key {
		r.least = extreme{key, value}
	}
	if key > r.most.key {
		r.most = extreme{key, value}
	}
}

func (r *result) value(function aggregate) (any, bool) {
	switch function {
	case count:
		return r.count, true
	case sum:
		return finite(r.sum, r.count > 0)
	case average:
		return finite(r.sum/float64(r.count), r.count > 0)
	case least:
		return r.least.value, r.least.key != ""
	case most:
		return r.most.value, r.most.key != ""
	}
	return nil, false
}

// finite leaves out what JSON has no number for.
func finite(value float64, defined bool) (any, bool) {
	return value, defined && !math.IsNaN(value) && !math.IsInf(value, 0)
}
