package query

import (
	"maps"
	"slices"
)

// Among returns the only texts, sorted, that a property at the top of a
// document, such as "deviceId", can have where the query selects it. It reports
// false when the condition leaves others possible, as most do. The condition
// has to be asked all the same: not every document with one of them is
// selected.
func (q *Query) Among(property string) (texts []string, bounded bool) {
	if q.where == nil {
		return nil, false
	}
	found, bounded := among(q.where.root, path{[]string{property}})
	if !bounded {
		return nil, false
	}
	return slices.Sorted(maps.Keys(found)), true
}

type texts = map[string]struct{}

// among is Among for a condition. NOT bounds nothing: what it leaves out is
// finite, what it leaves is not.
func among(condition expression, property path) (texts, bool) {
	switch e := condition.(type) {
	case constant:
		return texts{}, e.value != true // what is never true selects nothing
	case logic:
		if e.or {
			return amongAny(e.operands, property)
		}
		return amongAll(e.operands, property)
	case binary:
		switch {
		case e.operator != "=":
			return nil, false
		case isPath(e.left, property):
			return constants(e.right)
		case isPath(e.right, property):
			return constants(e.left)
		}
	case membership:
		if !e.negated && isPath(e.operand, property) {
			return constants(e.items.items...)
		}
	}
	return nil, false
}

// amongAny is what OR leaves possible: nothing else, if each operand allows
// nothing else.
func amongAny(operands []expression, property path) (texts, bool) {
	all := texts{}
	for _, operand := range operands {
		found, bounded := among(operand, property)
		if !bounded {
			return nil, false
		}
		maps.Copy(all, found)
	}
	return all, true
}

// amongAll is what AND leaves possible: what all operands do that bound it.
func amongAll(operands []expression, property path) (common texts, bounded bool) {
	for _, operand := range operands {
		found, one := among(operand, property)
		if !one {
			continue
		}
		if bounded {
			maps.DeleteFunc(found, func(text string, _ struct{}) bool {
				_, both := common[text]
				return !both
			})
		}
		common, bounded = found, true
	}
	return common, bounded
}

func isPath(e expression, property path) bool {
	p, is := e.(path)
	return is && p.equal(property)
}

// constants are what expressions come to if all are texts. A property that is
// no text is beyond what Among is asked for, and so is a comparison with one.
func constants(expressions ...expression) (texts, bool) {
	found := texts{}
	for _, e := range expressions {
		c, isConstant := e.(constant)
		text, isText := c.value.(string)
		if !isConstant || !isText {
			return nil, false
		}
		found[text] = struct{}{}
	}
	return found, true
}
