package query

import (
	"cmp"
	"encoding/json"
	"math"
	"strings"
)

func (c constant) evaluate(Document) any { return c.value }

func (l list) evaluate(doc Document) any {
	values := make([]any, 0, len(l.items))
	for _, item := range l.items {
		values = append(values, item.evaluate(doc))
	}
	return values
}

func (p path) evaluate(doc Document) any {
	value, defined := doc.Property(p.names)
	if !defined {
		return undefined{}
	}
	return normalize(value)
}

// normalize turns every number that a document can hold into a float64.
func normalize(value any) any {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		if err != nil {
			return undefined{}
		}
		return number
	case int:
		return float64(value)
	case int32:
		return float64(value)
	case int64:
		return float64(value)
	case uint64:
		return float64(value)
	case float32:
		return float64(value)
	default:
		return value
	}
}

// evaluate stops at the operand that decides: false for AND, true for OR. An
// undefined operand leaves the whole undefined unless another one decides.
func (l logic) evaluate(doc Document) any {
	var result any = !l.or
	for _, operand := range l.operands {
		value, isBoolean := operand.evaluate(doc).(bool)
		if isBoolean && value == l.or {
			return l.or
		}
		if !isBoolean {
			result = undefined{}
		}
	}
	return result
}

func (n not) evaluate(doc Document) any {
	if value, isBoolean := n.operand.evaluate(doc).(bool); isBoolean {
		return !value
	}
	return undefined{}
}

func (n negative) evaluate(doc Document) any {
	if value, isNumber := n.operand.evaluate(doc).(float64); isNumber {
		return -value
	}
	return undefined{}
}

func (b binary) evaluate(doc Document) any {
	left, right := b.left.evaluate(doc), b.right.evaluate(doc)
	if isArithmetic(b.operator) {
		return calculate(b.operator, left, right)
	}
	return compare(b.operator, left, right)
}

func calculate(operator string, left, right any) any {
	a, leftIsNumber := left.(float64)
	b, rightIsNumber := right.(float64)
	if !leftIsNumber || !rightIsNumber {
		return undefined{}
	}
	var result float64
	switch operator {
	case "+":
		result = a + b
	case "-":
		result = a - b
	case "*":
		result = a * b
	case "/":
		result = a / b
	case "%":
		result = math.Mod(a, b)
	}
	if math.IsNaN(result) || math.IsInf(result, 0) {
		return undefined{}
	}
	return result
}

// compare answers a comparison, undefined unless both sides are primitives of
// one type.
func compare(operator string, left, right any) any {
	order, ordered := orderOf(left, right)
	if !ordered {
		return undefined{}
	}
	switch operator {
	case "=":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

func orderOf(left, right any) (int, bool) {
	switch left := left.(type) {
	case string:
		right, same := right.(string)
		return strings.Compare(left, right), same
	case float64:
		right, same := right.(float64)
		return cmp.Compare(left, right), same
	case bool:
		right, same := right.(bool)
		return rank(left) - rank(right), same
	case nil:
		return 0, right == nil
	}
	return 0, false
}

func rank(value bool) int {
	if value {
		return 1
	}
	return 0
}

// evaluate treats IN as "= one of them" and NIN as "!= all of them".
func (m membership) evaluate(doc Document) any {
	operand := m.operand.evaluate(doc)
	operator := "="
	if m.negated {
		operator = "!="
	}
	var result any = m.negated
	for _, item := range m.items.items {
		answer, isBoolean := compare(operator, operand, item.evaluate(doc)).(bool)
		if isBoolean && answer != m.negated {
			return answer
		}
		if !isBoolean {
			result = undefined{}
		}
	}
	return result
}

func (i isDefined) evaluate(doc Document) any {
	_, defined := doc.Property(i.path.names)
	return defined
}

func (t textTest) evaluate(doc Document) any {
	text, isText := t.text.evaluate(doc).(string)
	part, isPart := t.part.evaluate(doc).(string)
	if !isText || !isPart {
		return undefined{}
	}
	if t.function == "ENDSWITH" {
		return strings.HasSuffix(text, part)
	}
	return strings.HasPrefix(text, part)
}
