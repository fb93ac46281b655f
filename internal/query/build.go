package query

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// StartsWith returns the condition that a top-level property begins with one of
// the prefixes. It needs at least one.
func StartsWith(property, first string, more ...string) *Condition {
	var operands []expression
	for _, prefix := range append([]string{first}, more...) {
		operands = append(operands, textTest{
			function: "STARTSWITH", text: path{[]string{property}}, part: constant{value: prefix},
		})
	}
	return &Condition{newLogic(true, operands...)}
}

// In returns the condition that a top-level property is one of the values. It
// needs at least one.
func In(property, first string, more ...string) *Condition {
	var items list
	for _, value := range append([]string{first}, more...) {
		items.items = append(items.items, constant{value: value})
	}
	return &Condition{membership{operand: path{[]string{property}}, items: items}}
}

// Equals returns the condition that a property has a value: a string, a boolean or a number
// as encoding/json decodes them. It reports false for a value or a name that no query can spell.
func Equals(value any, property ...string) (*Condition, bool) {
	return comparison("=", value, property)
}

// Differs returns the condition that a property has another value of the same type. It reports
// false for a value or a name that no query can spell.
func Differs(value any, property ...string) (*Condition, bool) {
	return comparison("!=", value, property)
}

// AtLeast returns the condition that a property is a number not below a value.
func AtLeast(value int, property ...string) *Condition {
	return &Condition{binary{operator: ">=", left: path{property}, right: constant{value: float64(value), literal: strconv.Itoa(value)}}}
}

// Defined returns the condition that a twin has a property.
func Defined(property ...string) *Condition { return &Condition{isDefined{path{property}}} }

// Or returns the condition that holds where any of the given ones does. It needs at
// least one.
func Or(first *Condition, more ...*Condition) *Condition {
	operands := []expression{first.root}
	for _, condition := range more {
		operands = append(operands, condition.root)
	}
	return &Condition{newLogic(true, operands...)}
}

// Not returns the condition that holds where another one is false. Where that one has no
// answer, neither has this.
func Not(condition *Condition) *Condition { return &Condition{not{condition.root}} }

func comparison(operator string, value any, property []string) (*Condition, bool) {
	c, ok := constantOf(value)
	if !ok || slices.ContainsFunc(property, endsQuotes) {
		return nil, false
	}
	return &Condition{binary{operator: operator, left: path{property}, right: c}}, true
}

// endsQuotes tells whether a name would end the brackets that quote it: IoT Hub documents no
// way to spell such a name.
func endsQuotes(name string) bool { return strings.Contains(name+"]", "]]") }

// constantOf is a scalar of a JSON document as a query spells it. Null is none: a comparison
// with it says nothing of a property that is there.
func constantOf(value any) (constant, bool) {
	switch v := value.(type) {
	case string, bool:
		return constant{value: v}, true
	case json.Number:
		return numberOf(v.String())
	case float64:
		return numberOf(strconv.FormatFloat(v, 'g', -1, 64))
	case int:
		return numberOf(strconv.Itoa(v))
	case int64:
		return numberOf(strconv.FormatInt(v, 10))
	}
	return constant{}, false
}

// numberOf reads a number by the parser itself, so that no spelling is sent which it would not
// read.
func numberOf(literal string) (constant, bool) {
	read, err := ParseCondition("a = " + literal)
	if err != nil {
		return constant{}, false
	}
	whole, isBinary := read.root.(binary)
	if !isBinary {
		return constant{}, false
	}
	c, isConstant := whole.right.(constant)
	return c, isConstant
}
