package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// query reads a whole SELECT.
func (p *parser) query() (*Query, error) {
	q := &Query{}
	items, err := p.selection(q)
	if err != nil {
		return nil, err
	}
	if p.acceptKeyword("WHERE") {
		root, err := p.wholeCondition()
		if err != nil {
			return nil, err
		}
		q.where = &Condition{root}
	}
	if err := p.grouping(q); err != nil {
		return nil, err
	}
	if err := p.expectEnd(q.mayFollow()); err != nil {
		return nil, err
	}
	return q, p.checkColumns(q, items)
}

// mayFollow lists what could have come where a query ends.
func (q *Query) mayFollow() string {
	switch {
	case len(q.groupBy) > 0:
		return `"," or the end of the query`
	case q.Jobs() && q.where != nil:
		return "AND, OR or the end of the query"
	case q.Jobs():
		return "WHERE or the end of the query"
	case q.where != nil:
		return "AND, OR, GROUP BY or the end of the query"
	}
	return "WHERE, GROUP BY or the end of the query"
}

// selection reads up to the collection. It returns where each column starts.
func (p *parser) selection(q *Query) ([]token, error) {
	if !p.acceptKeyword("SELECT") {
		return nil, p.unexpected("SELECT")
	}
	if p.acceptKeyword("TOP") {
		limit, err := strconv.Atoi(p.peek().text)
		if p.peek().kind != tokenNumber || err != nil || limit < 1 {
			return nil, p.unexpected("a whole number above 0 after TOP")
		}
		p.advance()
		q.top = limit
	}
	var items []token
	if !p.acceptSymbol("*") {
		var err error
		if items, err = p.columns(q); err != nil {
			return nil, err
		}
	}
	if !p.acceptKeyword("FROM") {
		return nil, p.unexpected("FROM")
	}
	var err error
	if q.source, err = p.collection(); err != nil {
		return nil, err
	}
	p.source = q.source
	if q.Jobs() && len(items) > 0 {
		return nil, errorAt(p.text, items[0].offset, "devices.jobs knows SELECT * only; properties and aggregates are selected from devices or devices.modules")
	}
	return items, nil
}

func (p *parser) collection() (source, error) {
	start := p.peek()
	var names []string
	for p.peek().kind == tokenName {
		names = append(names, strings.ToLower(p.advance().text))
		if !p.acceptSymbol(".") {
			break
		}
	}
	switch named := source(strings.Join(names, ".")); named {
	case sourceDevices, sourceModules, sourceJobs:
		return named, nil
	}
	return "", errorAt(p.text, start.offset, "expected devices, devices.modules or devices.jobs after FROM, found %s", start.describe())
}

func (p *parser) columns(q *Query) ([]token, error) {
	var items []token
	for {
		items = append(items, p.peek())
		item, err := p.column(len(items))
		if err != nil {
			return nil, err
		}
		q.columns = append(q.columns, item)
		if !p.acceptSymbol(",") {
			return items, nil
		}
	}
}

// column reads one item. position, from 1, names an aggregate without alias.
func (p *parser) column(position int) (column, error) {
	var item column
	var err error
	if p.peek().kind == tokenName && p.tokens[p.next+1].isSymbol("(") {
		item, err = p.aggregate()
		item.name = p.aggregateName(item, position)
	} else if item.path, err = p.path(); err == nil {
		item.name = p.propertyName(item.path)
	}
	if err != nil {
		return column{}, err
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

func (p *parser) aggregateName(item column, position int) string {
	if p.dialect.NamedByFunction {
		return strings.ToLower(string(item.function))
	}
	return fmt.Sprintf("$%d", position)
}

func (p *parser) propertyName(selected path) string {
	if p.dialect.NamedByPath {
		return strings.Join(selected.names, ".")
	}
	return selected.names[len(selected.names)-1]
}

func (p *parser) aggregate() (column, error) {
	name := p.advance()
	p.advance() // the parenthesis
	function := aggregate(strings.ToUpper(name.text))
	if !slices.Contains(aggregates[:], function) {
		return column{}, errorAt(p.text, name.offset, "unknown function %q; COUNT(), AVG, SUM, MIN and MAX can be selected", name.text)
	}
	if function == count {
		return column{function: count}, p.expectSymbol(")", "after COUNT(, which takes no property")
	}
	argument, err := p.path()
	if err != nil {
		return column{}, err
	}
	return column{function: function, path: argument}, p.expectSymbol(")", "after the property of "+string(function))
}

func (p *parser) grouping(q *Query) error {
	start := p.peek()
	if !p.acceptKeyword("GROUP") {
		return nil
	}
	if q.Jobs() {
		return errorAt(p.text, start.offset, "devices.jobs knows no GROUP BY; it is for devices and devices.modules")
	}
	if !p.acceptKeyword("BY") {
		return p.unexpected("BY after GROUP; a property of that name is written [[group]],")
	}
	for {
		by, err := p.path()
		if err != nil {
			return err
		}
		q.groupBy = append(q.groupBy, by)
		if !p.acceptSymbol(",") {
			return nil
		}
	}
}

// checkColumns applies the rules on what can be selected together.
func (p *parser) checkColumns(q *Query, items []token) error {
	if len(q.columns) == 0 && len(q.groupBy) > 0 {
		return errorAt(p.text, 0, "SELECT * has no single row for a group; select the properties behind GROUP BY, COUNT(), AVG, SUM, MIN or MAX")
	}
	named := map[string]bool{}
	for i, item := range q.columns {
		if named[item.name] {
			return errorAt(p.text, items[i].offset, "two columns are called %q; give one of them another name with AS", item.name)
		}
		named[item.name] = true
		if item.function != "" || !q.Aggregates() {
			continue
		}
		if !slices.ContainsFunc(q.groupBy, item.path.equal) {
			return errorAt(p.text, items[i].offset, "a property that is selected beside an aggregate, or with GROUP BY, has to be behind GROUP BY as well")
		}
	}
	return nil
}
