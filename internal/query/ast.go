package query

import "slices"

// expression is a node of a parsed text. Nodes are immutable.
type expression interface {
	evaluate(doc Document) any
	write(p *printer)
}

type (
	// constant is null, undefined, a boolean, a string or a number; literal
	// keeps a number's spelling.
	constant struct {
		value   any
		literal string
	}
	// list is an array of constants.
	list struct{ items []expression }
	// path names a property, from the top of the document.
	path struct{ names []string }
	// logic is AND or OR of at least two operands, none of them of its own kind.
	logic struct {
		or       bool
		operands []expression
	}
	not struct{ operand expression }
	// binary is a comparison or arithmetic. joined tells that a minus stood between
	// its operands without a blank: it may be a name's hyphen.
	binary struct {
		operator    string
		left, right expression
		joined      bool
	}
	negative struct{ operand expression }
	// membership is IN, or NIN when negated.
	membership struct {
		operand expression
		items   list
		negated bool
	}
	isDefined struct{ path path }
	// textTest is STARTSWITH or ENDSWITH.
	textTest struct {
		function   string
		text, part expression
	}
)

// undefined is the value of whatever is not there or has no answer.
type undefined struct{}

// newLogic joins operands, taking in those that are joined the same way: the
// order of evaluation is all that parentheses could change there, and it does
// not matter.
func newLogic(or bool, operands ...expression) expression {
	flat := make([]expression, 0, len(operands))
	for _, operand := range operands {
		if inner, same := operand.(logic); same && inner.or == or {
			flat = append(flat, inner.operands...)
			continue
		}
		flat = append(flat, operand)
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return logic{or: or, operands: flat}
}

// walkPaths calls visit for every path in an expression.
func walkPaths(e expression, visit func(path)) {
	for _, below := range children(e) {
		walkPaths(below, visit)
	}
	if p, isPath := e.(path); isPath {
		visit(p)
	}
}

// height counts the levels of an expression, itself included.
func height(e expression) int {
	highest := 0
	for _, below := range children(e) {
		highest = max(highest, height(below))
	}
	return highest + 1
}

func children(e expression) []expression {
	switch e := e.(type) {
	case list:
		return e.items
	case logic:
		return e.operands
	case not:
		return []expression{e.operand}
	case negative:
		return []expression{e.operand}
	case binary:
		return []expression{e.left, e.right}
	case membership:
		return []expression{e.operand, e.items}
	case isDefined:
		return []expression{e.path}
	case textTest:
		return []expression{e.text, e.part}
	case typeTest:
		return []expression{e.operand}
	case arrayContains:
		return []expression{e.array, e.item}
	default:
		return nil
	}
}

func pathsOf(e expression) [][]string {
	var paths [][]string
	walkPaths(e, func(p path) { paths = append(paths, slices.Clone(p.names)) })
	return paths
}
