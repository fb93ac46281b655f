package query

import "strings"

// Explain shows how a condition was understood, as a tree: AND, OR and NOT with what they
// join on lines of their own below them, moved to the right, each in the canonical spelling.
func (c *Condition) Explain() string {
	var out strings.Builder
	explain(&out, c.root, 0)
	return strings.TrimSuffix(out.String(), "\n")
}

func explain(out *strings.Builder, e expression, level int) {
	text := canonical(e)
	joins := false
	switch e := e.(type) {
	case logic:
		joins, text = true, "AND"
		if e.or {
			text = "OR"
		}
	case not:
		joins, text = true, "NOT"
	}
	out.WriteString(strings.Repeat("  ", level) + text + "\n")
	if !joins {
		return
	}
	for _, operand := range children(e) {
		explain(out, operand, level+1)
	}
}

// PathText spells the path of a property as it stands in a query, from its names.
func PathText(names ...string) string {
	var out printer
	path{names}.write(&out)
	return out.String()
}
