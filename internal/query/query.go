package query

import (
	"fmt"
	"slices"
)

// Query is a whole SELECT, parsed.
type Query struct {
	source  source
	top     int // 0 means no limit
	columns []column
	where   *Condition // nil selects everything
	groupBy []path
}

// column is one item behind SELECT; a query without columns selects *.
type column struct {
	function aggregate // empty for a property
	path     path      // empty for COUNT()
	name     string    // the member of the row
	alias    string    // as written, for printing
}

// Parse parses a query over devices, devices.modules or devices.jobs. Its
// errors are of type *SyntaxError.
func Parse(text string) (*Query, error) { return Dialect{}.Parse(text) }

// Modules reports whether the query is over module twins instead of device twins.
func (q *Query) Modules() bool { return q.source == sourceModules }

// Jobs reports whether the query is over what jobs did to devices instead of
// twins. Such a query selects whole rows and does not aggregate.
func (q *Query) Jobs() bool { return q.source == sourceJobs }

// SelectsTwins reports whether rows are whole twins (SELECT *), or whatever
// else the query is over.
func (q *Query) SelectsTwins() bool { return len(q.columns) == 0 }

// Aggregates reports whether rows stand for groups of twins, or for all of
// them, rather than for one twin each.
func (q *Query) Aggregates() bool {
	isAggregate := func(item column) bool { return item.function != "" }
	return len(q.groupBy) > 0 || slices.ContainsFunc(q.columns, isAggregate)
}

// Top is the most rows that the query asks for; 0 means all.
func (q *Query) Top() int { return q.top }

// Selects reports whether the query's condition selects the twin.
func (q *Query) Selects(doc Document) bool {
	return q.where == nil || q.where.Selects(doc)
}

// Row returns what the query makes of a twin that its condition selects: a
// member for each selected property that the twin has. It is for queries that
// neither aggregate nor select whole twins.
func (q *Query) Row(doc Document) map[string]any {
	row := make(map[string]any, len(q.columns))
	for _, item := range q.columns {
		if value, defined := doc.Property(item.path.names); defined {
			row[item.name] = value
		}
	}
	return row
}

// String prints the query in its canonical spelling, which parses to the same
// query.
func (q *Query) String() string {
	var p printer
	p.WriteString("SELECT ")
	if q.top > 0 {
		fmt.Fprintf(&p, "TOP %d ", q.top)
	}
	if q.SelectsTwins() {
		p.WriteByte('*')
	}
	for i, item := range q.columns {
		p.separate(i)
		item.write(&p)
	}
	p.WriteString(" FROM " + string(q.source))
	if q.where != nil {
		p.WriteString(" WHERE " + q.where.String())
	}
	for i, by := range q.groupBy {
		if i == 0 {
			p.WriteString(" GROUP BY ")
		}
		p.separate(i)
		by.write(&p)
	}
	return p.String()
}

func (c column) write(p *printer) {
	if c.function == "" {
		c.path.write(p)
	} else {
		p.WriteString(string(c.function) + "(")
		if c.function != count {
			c.path.write(p)
		}
		p.WriteByte(')')
	}
	if c.alias != "" {
		p.WriteString(" AS " + c.alias)
	}
}
