package query

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Query is a whole SELECT, parsed.
type Query struct {
	source  string
	top     int // 0 means no limit
	columns []column
	where   *Condition // nil selects everything
}

// column is one item behind SELECT; a query without columns selects *.
type column struct {
	path  path // empty for COUNT()
	count bool
	name  string // the member of the row
	alias string // as written, for printing
}

// Parse parses a query over devices or devices.modules. Its errors are of
// type *SyntaxError.
func Parse(text string) (*Query, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	q := &Query{}
	if err := p.selection(q); err != nil {
		return nil, err
	}
	if p.acceptKeyword("WHERE") {
		root, err := p.wholeCondition()
		if err != nil {
			return nil, err
		}
		q.where = &Condition{root}
	}
	if p.peek().is("GROUP") {
		return nil, errorAt(p.text, p.peek().offset, "GROUP BY is not supported here")
	}
	return q, p.expectEnd("WHERE, AND, OR or the end of the query")
}

func (p *parser) collection() (string, error) {
	start := p.peek()
	var names []string
	for p.peek().kind == tokenName {
		names = append(names, strings.ToLower(p.advance().text))
		if !p.acceptSymbol(".") {
			break
		}
	}
	switch source := strings.Join(names, "."); source {
	case sourceDevices, sourceModules:
		return source, nil
	case "devices.jobs":
		return "", errorAt(p.text, start.offset, "devices.jobs is not supported here; query devices or devices.modules")
	}
	return "", errorAt(p.text, start.offset, "expected devices or devices.modules after FROM, found %s", start.describe())
}

func (p *parser) selection(q *Query) error {
	if !p.acceptKeyword("SELECT") {
		return p.unexpected("SELECT")
	}
	if p.acceptKeyword("TOP") {
		limit, err := strconv.Atoi(p.peek().text)
		if p.peek().kind != tokenNumber || err != nil || limit < 1 {
			return p.unexpected("a whole number above 0 after TOP")
		}
		p.advance()
		q.top = limit
	}
	if !p.acceptSymbol("*") {
		if err := p.columns(q); err != nil {
			return err
		}
	}
	if !p.acceptKeyword("FROM") {
		return p.unexpected("FROM")
	}
	var err error
	q.source, err = p.collection()
	return err
}

func (p *parser) columns(q *Query) error {
	for {
		start := p.peek()
		item, err := p.column(len(q.columns) + 1)
		if err != nil {
			return err
		}
		if len(q.columns) > 0 && q.columns[0].count != item.count {
			return errorAt(p.text, start.offset, "COUNT() and properties cannot be selected together without GROUP BY, which is not supported here")
		}
		q.columns = append(q.columns, item)
		if !p.acceptSymbol(",") {
			return nil
		}
	}
}

// column reads one item. position, from 1, names a COUNT() without alias.
func (p *parser) column(position int) (column, error) {
	var item column
	if start := p.peek(); start.kind == tokenName && p.tokens[p.next+1].isSymbol("(") {
		if err := p.count(start); err != nil {
			return column{}, err
		}
		item = column{count: true, name: fmt.Sprintf("$%d", position)}
	} else {
		named, err := p.path()
		if err != nil {
			return column{}, err
		}
		item = column{path: named, name: named.names[len(named.names)-1]}
	}
	if p.acceptKeyword("AS") {
		alias := p.peek()
		if alias.kind != tokenQuotedName && (alias.kind != tokenName || isReserved(alias.text)) {
			return column{}, p.unexpected("a name after AS")
		}
		p.advance()
		item.name, item.alias = alias.text, quoteName(alias.text)
	}
	return item, nil
}

func (p *parser) count(start token) error {
	if !start.is("COUNT") {
		for _, aggregate := range []string{"AVG", "SUM", "MIN", "MAX"} {
			if start.is(aggregate) {
				return errorAt(p.text, start.offset, "%s is not supported here; COUNT() is", aggregate)
			}
		}
		return errorAt(p.text, start.offset, "unknown function %q; COUNT() can be selected", start.text)
	}
	p.advance()
	p.advance()
	return p.expectSymbol(")", "after COUNT(")
}

// Modules reports whether the query is over module twins instead of device twins.
func (q *Query) Modules() bool { return q.source == sourceModules }

// SelectsTwins reports whether rows are whole twins (SELECT *).
func (q *Query) SelectsTwins() bool { return len(q.columns) == 0 }

// Aggregates reports whether the query makes one row of all twins.
func (q *Query) Aggregates() bool { return len(q.columns) > 0 && q.columns[0].count }

// Top is the most rows that the query asks for; 0 means all.
func (q *Query) Top() int { return q.top }

// Matches reports whether the query's condition selects the twin.
func (q *Query) Matches(doc map[string]any) bool {
	return q.where == nil || q.where.Matches(doc)
}

// Select returns the row that the query makes of a twin, and whether its
// condition selects the twin at all. With SELECT * the row is the twin itself;
// otherwise it has a member for each selected property that the twin has. The
// rows of a query that aggregates come from Aggregate instead.
func (q *Query) Select(doc map[string]any) (map[string]any, bool) {
	if q.Aggregates() || !q.Matches(doc) {
		return nil, false
	}
	if q.SelectsTwins() {
		return doc, true
	}
	row := make(map[string]any, len(q.columns))
	for _, item := range q.columns {
		if value, defined := item.path.find(doc); defined {
			row[item.name] = value
		}
	}
	return row, true
}

// Aggregate returns the one row that a query with COUNT() makes of all twins.
func (q *Query) Aggregate(docs iter.Seq[map[string]any]) map[string]any {
	selected := 0
	for doc := range docs {
		if q.Matches(doc) {
			selected++
		}
	}
	row := make(map[string]any, len(q.columns))
	for _, item := range q.columns {
		row[item.name] = selected
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
		if i > 0 {
			p.WriteString(", ")
		}
		if item.count {
			p.WriteString("COUNT()")
		} else {
			item.path.write(&p)
		}
		if item.alias != "" {
			p.WriteString(" AS " + item.alias)
		}
	}
	p.WriteString(" FROM " + q.source)
	if q.where != nil {
		p.WriteString(" WHERE " + q.where.String())
	}
	return p.String()
}
