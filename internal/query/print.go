package query

import (
	"fmt"
	"strings"
	"unicode"
)

// printer writes the canonical text: keywords in capitals, one space between
// words, and parentheses around every operand that is itself an operation, so
// that no reader's idea of precedence matters.
type printer struct{ strings.Builder }

func (p *printer) operand(e expression) {
	switch e.(type) {
	case logic, not, binary, membership, negative:
		p.WriteByte('(')
		e.write(p)
		p.WriteByte(')')
	default:
		e.write(p)
	}
}

func canonical(e expression) string {
	var p printer
	e.write(&p)
	return p.String()
}

func (c constant) write(p *printer) {
	switch value := c.value.(type) {
	case string:
		p.WriteString(quoteString(value))
	case float64:
		p.WriteString(c.literal)
	case bool:
		fmt.Fprint(p, value)
	case nil:
		p.WriteString("null")
	default:
		p.WriteString("undefined")
	}
}

// quoteString spells a string so that every reader agrees on it. Whether a
// quote inside a string is escaped by a backslash or by doubling is disputed,
// so neither is used: the other kind of quote encloses it, or \u0022 stands
// for it.
func quoteString(value string) string {
	quote := byte('\'')
	if strings.Contains(value, "'") {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range value {
		switch {
		case r == rune(quote), unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}

func (l list) write(p *printer) {
	p.WriteByte('[')
	for i, item := range l.items {
		if i > 0 {
			p.WriteString(", ")
		}
		item.write(p)
	}
	p.WriteByte(']')
}

func (p path) write(out *printer) {
	if len(p.names) > 1 && startsWithSource(p.names) {
		// Its first name is not the collection's: that one goes in front.
		out.WriteString(string(sourceDevices) + ".")
	}
	for i, name := range p.names {
		if i > 0 {
			out.WriteByte('.')
		}
		out.WriteString(quoteName(name))
	}
}

// disputedWords are not reserved here but mean something in SQL; brackets
// around them are always understood.
var disputedWords = [...]string{
	"ORDER", "OFFSET", "LIMIT", "LIKE", "HAVING", "BETWEEN", "JOIN", "DISTINCT", "VALUE", "EXISTS",
	"ON", "ASC", "DESC", "CASE", "ESCAPE", "UNION",
}

func quoteName(name string) string {
	plain := name != "" && prefixLength(name, isNamePart) == len(name) && isNameStart([]rune(name)[0]) && !isReserved(name)
	for _, word := range disputedWords {
		plain = plain && !strings.EqualFold(word, name)
	}
	if plain {
		return name
	}
	return "[[" + name + "]]"
}

func (l logic) write(p *printer) {
	keyword := " AND "
	if l.or {
		keyword = " OR "
	}
	for i, operand := range l.operands {
		if i > 0 {
			p.WriteString(keyword)
		}
		p.joined(operand)
	}
}

// joined writes an operand of AND or OR: a single comparison needs no
// parentheses there by any precedence.
func (p *printer) joined(e expression) {
	switch e.(type) {
	case logic, not:
		p.operand(e)
	default:
		e.write(p)
	}
}

func (n not) write(p *printer) {
	p.WriteString("NOT ")
	p.operand(n.operand)
}

func (n negative) write(p *printer) {
	p.WriteString("-(")
	n.operand.write(p)
	p.WriteByte(')')
}

func (b binary) write(p *printer) {
	p.operand(b.left)
	p.WriteString(" " + b.operator + " ")
	p.operand(b.right)
}

func (m membership) write(p *printer) {
	p.operand(m.operand)
	if m.negated {
		p.WriteString(" NIN ")
	} else {
		p.WriteString(" IN ")
	}
	m.items.write(p)
}

func (i isDefined) write(p *printer) {
	p.WriteString("IS_DEFINED(")
	i.path.write(p)
	p.WriteByte(')')
}

func (t textTest) write(p *printer) {
	p.WriteString(t.function + "(")
	t.text.write(p)
	p.WriteString(", ")
	t.part.write(p)
	p.WriteByte(')')
}

// separate writes the comma in front of an item that is not the first.
func (p *printer) separate(position int) {
	if position > 0 {
		p.WriteString(", ")
	}
}
