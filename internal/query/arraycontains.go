package query

import "slices"

// arrayContains tells whether an item equals any of an array's. What is no array
// contains nothing, and what is missing leaves the answer open.
type arrayContains struct{ array, item expression }

func (a arrayContains) evaluate(doc Document) any {
	var items []any
	switch array := a.array.evaluate(doc).(type) {
	case undefined:
		return undefined{}
	case []any:
		items = array
	case []string: // the parent scopes of a twin
		for _, item := range array {
			items = append(items, item)
		}
	}
	wanted := a.item.evaluate(doc)
	return slices.ContainsFunc(items, func(item any) bool { return compare("=", normalize(item), wanted) == true })
}

func (a arrayContains) write(p *printer) {
	p.WriteString(arrayContainsName + "(")
	a.array.write(p)
	p.WriteString(", ")
	a.item.write(p)
	p.WriteByte(')')
}
