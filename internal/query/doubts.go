package query

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxDoubts keeps the first few: a user corrects one thing at a time.
	maxDoubts = 5
	// maxShownPath bounds what a doubt shows of one path, in characters.
	maxShownPath = 60
)

// Doubts says what a condition probably does not mean, a line each, the first
// five: properties that no twin has, comparisons that are never true, fields
// that IoT Hub advises against, and twins that a negation leaves out without
// saying so. A condition without doubts may still be wrong. No constant is
// quoted. modules tells that the condition is about the twins of modules, not of
// devices.
func (c *Condition) Doubts(modules bool) []string {
	d := &doubter{modules: modules, tested: map[string]bool{}}
	d.names(c.root)
	d.condition(c.root, false)
	d.leftOut()
	return d.found[:min(len(d.found), maxDoubts)]
}

// doubter goes through a condition once.
type doubter struct {
	modules bool
	found   []string
	// denied are the paths of comparisons that hold where a value differs.
	denied []path
	// tested are the paths whose absence was thought of: they are in IS_DEFINED,
	// or in a comparison that holds for some value.
	tested map[string]bool
}

func (d *doubter) add(format string, args ...any) {
	if doubt := fmt.Sprintf(format, args...); !slices.Contains(d.found, doubt) {
		d.found = append(d.found, doubt)
	}
}

// names looks at the paths of an expression, and at names with a hyphen, which are
// read as subtractions.
func (d *doubter) names(e expression) {
	if name, found := misread(e); found {
		d.hyphen(name)
		return
	}
	for _, below := range children(e) {
		d.names(below)
	}
	if p, isPath := e.(path); isPath {
		d.path(p)
	}
}

func (d *doubter) hyphen(name joinedName) {
	d.add("%s is read as a subtraction; the name with a hyphen is written %s", cutShown(name.read), shown(name.meant))
}

// path looks at a path wherever it stands.
func (d *doubter) path(p path) {
	switch field := p.names[0]; {
	case field == "connectionState", field == "lastActivityTime":
		d.add("%s may be minutes late: IoT Hub documents it for development and debugging, and advises against queries on it", field)
	case d.modules && slices.Contains(deviceFields[:], field):
		d.add("%s is in no twin of a module; twins of devices have it", field)
	case !d.modules && field == moduleField:
		d.add("%s is in no twin of a device; twins of modules have it, which are in devices.modules", field)
	case kindsOf(p) > 0:
	case strings.EqualFold(field, "desired"), strings.EqualFold(field, "reported"):
		d.add("%s is in no twin: write properties.%s", shown(p), strings.ToLower(field))
	case field == "properties":
		d.add("%s is in no twin: properties holds desired and reported", shown(p))
	case kindsOfField(field) == 0:
		d.add("%s is in no twin: there is no %s at its root; tags are under tags, properties under properties.desired and properties.reported",
			shown(p), shown(path{p.names[:1]}))
	default:
		d.add("%s is in no twin: %s is %s", shown(p), field, kindsOfField(field).name())
	}
}

// condition looks at an expression where true or false is asked for; negated
// tells whether an odd number of NOT stands before it.
func (d *doubter) condition(e expression, negated bool) {
	switch e := e.(type) {
	case logic:
		for _, operand := range e.operands {
			d.condition(operand, negated)
		}
		return
	case not:
		d.condition(e.operand, !negated)
		return
	case isDefined:
		d.tested[canonical(e.path)] = true
		return
	case membership:
		d.membership(e)
		d.note(e.operand, e.negated != negated)
		return
	case textTest:
		d.textTest(e)
		d.note(e, negated)
		return
	case arrayContains:
		if !absent(e.array) && kindsOf(e.array)&kindList == 0 {
			d.add("%s is never true of %s: it takes a list", arrayContainsName, described(e.array))
		}
		d.note(e, negated)
		return
	case path:
		d.note(e, negated)
	case binary:
		if !isArithmetic(e.operator) {
			d.comparison(e)
			d.note(e, (e.operator == "!=") != negated)
			return
		}
	}
	if k := kindsOf(e); k&kindBoolean == 0 && !absent(e) {
		d.add("%s on its own is never true: it is neither true nor false", described(e))
	}
}

// note remembers the paths of a comparison for leftOut.
func (d *doubter) note(e expression, denies bool) {
	if slices.ContainsFunc(append(children(e), e), func(below expression) bool { _, found := misread(below); return found }) {
		return // what it reads is not what is meant
	}
	walkPaths(e, func(p path) {
		if denies {
			d.denied = append(d.denied, p)
			return
		}
		d.tested[canonical(p)] = true
	})
}

// leftOut is about comparisons that hold where a value differs: they do not hold
// where there is none.
func (d *doubter) leftOut() {
	for _, p := range d.denied {
		if canBeMissing(p) && !d.tested[canonical(p)] {
			d.add("the negation does not select twins without %s; where they are meant as well, add: OR NOT IS_DEFINED(%[1]s)", shown(p))
		}
	}
}

// moduleField is at the root of module twins only.
const moduleField = "moduleId"

// deviceFields are at the root of device twins only: what a module's twin has is
// in IoT Hub's own documentation of module twins.
var deviceFields = [...]string{"statusReason", "capabilities", "deviceScope", "parentScopes"}

// canBeMissing tells the paths of a twin that one twin has and another has not.
func canBeMissing(p path) bool {
	switch p.names[0] {
	case "tags", "configurations":
		return len(p.names) > 1
	case "properties":
		return kindsOf(p) == kindsStored
	}
	return false
}

func (d *doubter) comparison(b binary) {
	if absent(b.left) || absent(b.right) {
		return
	}
	if kindsOf(b.left)&kindsOf(b.right)&kindsCompared == 0 {
		d.neverTrue(b.left, b.right)
		return
	}
	if b.operator == "=" {
		d.spelling(b.left, b.right)
		d.spelling(b.right, b.left)
	}
}

// neverTrue is about two operands that have no type in common.
func (d *doubter) neverTrue(left, right expression) {
	for _, side := range []struct{ this, other expression }{{left, right}, {right, left}} {
		p, isPath := side.this.(path)
		if name, joined := joinedNameOf(side.this); joined && !isPath {
			d.hyphen(name)
			return
		}
		switch other := side.other.(type) {
		case constant:
			if isPath && kindsOf(other)&^kindNull == 0 {
				d.add("a comparison of %s with null or undefined is never true; IS_DEFINED(%[1]s) tells whether it is there", shown(p))
				return
			}
		case list:
			d.add("a comparison of %s with a list is never true; IN finds one of several values", described(side.this))
			return
		}
	}
	d.add("a comparison of %s with %s is never true: they have different types", described(left), described(right))
}

// membership: IN needs one item that can be equal, NIN needs all of them to be
// comparable.
func (d *doubter) membership(m membership) {
	if absent(m.operand) {
		return
	}
	of := kindsOf(m.operand) & kindsCompared
	some, all := kinds(0), of
	for _, item := range m.items.items {
		some |= of & kindsOf(item)
		all &= kindsOf(item)
	}
	switch {
	case m.negated && all == 0 && len(m.items.items) > 0:
		d.add("NIN is never true of %s and this list: it holds values of other types", described(m.operand))
	case !m.negated && some == 0:
		d.add("IN is never true of %s and this list: it holds no value of the same type", described(m.operand))
	case !m.negated:
		d.spelling(m.operand, m.items.items...)
	}
}

func (d *doubter) textTest(t textTest) {
	for _, argument := range []expression{t.text, t.part} {
		if !absent(argument) && kindsOf(argument)&kindString == 0 {
			d.add("%s is never true of %s: it takes strings", t.function, described(argument))
		}
	}
}

// spelling is about fields that have a few fixed values, compared with none of them.
func (d *doubter) spelling(e expression, with ...expression) {
	p, isPath := e.(path)
	if !isPath || len(p.names) != 1 {
		return
	}
	values := fixedValues(p.names[0])
	known := func(e expression) bool {
		c, isConstant := e.(constant)
		text, isText := c.value.(string)
		return !isConstant || (isText && slices.Contains(values, text))
	}
	if len(values) > 0 && !slices.ContainsFunc(with, known) {
		d.add("%s is one of '%s', spelled like this, and is compared with none of them", p.names[0], strings.Join(values, "', '"))
	}
}

// fixedValues are all the values a field of a twin can have; none where they
// cannot be listed.
func fixedValues(field string) []string {
	switch field {
	case "status":
		return []string{"enabled", "disabled"}
	case "connectionState":
		return []string{"Connected", "Disconnected"}
	case "authenticationType":
		return []string{"sas", "selfSigned", "certificateAuthority", "none"}
	}
	return nil
}

// absent tells whether an expression is a path that no twin has, or a name that is
// read as a subtraction; names says so.
func absent(e expression) bool {
	if _, found := misread(e); found {
		return true
	}
	p, isPath := e.(path)
	return isPath && kindsOf(p) == 0
}

// described names an operand without quoting a constant.
func described(e expression) string {
	p, isPath := e.(path)
	name := kindsOf(e).name()
	switch {
	case isPath && name != "":
		return shown(p) + " (" + name + ")"
	case isPath:
		return shown(p)
	case name != "":
		return name
	}
	return "undefined"
}

// shown is a path as it is written, cut where it is long.
func shown(p path) string {
	return cutShown(canonical(p))
}

func cutShown(text string) string {
	if utf8.RuneCountInString(text) <= maxShownPath {
		return text
	}
	return string([]rune(text)[:maxShownPath]) + "…"
}
