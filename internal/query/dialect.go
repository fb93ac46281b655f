package query

// Dialect settles how a text is read where IoT Hub's documents leave that open.
// The zero value is how Parse and ParseCondition read it.
type Dialect struct {
	// Escape is how a string holds the quote that it is in itself.
	Escape Escape
	// LeftToRight lets AND and OR bind alike and from the left. Otherwise AND
	// binds more closely, as in SQL.
	LeftToRight bool
	// TypeFunctions adds IS_BOOL, IS_NUMBER, IS_STRING, IS_OBJECT, IS_ARRAY,
	// IS_NULL and IS_PRIMITIVE, which are documented for message routing only.
	TypeFunctions bool
	// NamedByFunction calls a selected aggregate without AS by its function,
	// such as count, instead of by $ and its position.
	NamedByFunction bool
	// NamedByPath calls a selected property without AS by its whole path, such
	// as tags.location.plant, instead of by the last name of it.
	NamedByPath bool
}

// Escape says how a string of a query holds the quote that it is in itself.
type Escape int

const (
	// AnyEscape takes a backslash before the quote as well as the quote
	// doubled: tools in the field use both.
	AnyEscape Escape = iota
	// BackslashEscape takes a backslash only, as IoT Hub documents. A doubled
	// quote ends the string and begins another one.
	BackslashEscape
	// DoubledEscape takes the quote doubled only, as in SQL. A backslash is a
	// character like any other.
	DoubledEscape
)

// Parse is the package's Parse in this dialect.
func (d Dialect) Parse(text string) (*Query, error) {
	p, err := newParser(text, d)
	if err != nil {
		return nil, err
	}
	return p.query()
}

// ParseCondition is the package's ParseCondition in this dialect.
func (d Dialect) ParseCondition(text string) (*Condition, error) {
	p, err := newParser(text, d)
	if err != nil {
		return nil, err
	}
	root, err := p.wholeCondition()
	if err != nil {
		return nil, err
	}
	if err := p.expectEnd("AND, OR or the end of the condition"); err != nil {
		return nil, err
	}
	return &Condition{root}, nil
}
