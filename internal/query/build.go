package query

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
