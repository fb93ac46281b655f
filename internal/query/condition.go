package query

// Condition is the text behind WHERE, parsed.
type Condition struct{ root expression }

// ParseCondition parses the text of a condition, without the word WHERE. Its
// errors are of type *SyntaxError. A condition that names a property no twin
// has is no error: it just never matches.
func ParseCondition(text string) (*Condition, error) { return Dialect{}.ParseCondition(text) }

// And returns the condition that holds where all the given ones do. It needs
// at least one.
func And(first *Condition, more ...*Condition) *Condition {
	operands := []expression{first.root}
	for _, condition := range more {
		operands = append(operands, condition.root)
	}
	return &Condition{newLogic(false, operands...)}
}

// String prints the condition in its canonical spelling, which parses to the
// same condition. It may be longer than the text it was parsed from. Put it
// in parentheses, or use And, to combine it with other text.
func (c *Condition) String() string { return canonical(c.root) }

// Matches reports whether the condition selects the twin.
func (c *Condition) Matches(doc map[string]any) bool { return c.Selects(Object(doc)) }

// Selects is Matches for any kind of document.
func (c *Condition) Selects(doc Document) bool {
	selected, isBoolean := c.root.evaluate(doc).(bool)
	return isBoolean && selected
}

// Paths lists the properties that the condition names, each as its names from
// the top of a twin, in the order of the text.
func (c *Condition) Paths() [][]string { return pathsOf(c.root) }
