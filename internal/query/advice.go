package query

import (
	"fmt"
	"slices"
	"strings"
)

// selectAll is a condition that every twin satisfies.
const selectAll = "IS_DEFINED(deviceId)"

// pastedQuery is about a text that is more than a condition, or stands for all twins:
// it says what to write, and where the condition begins.
func (p *parser) pastedQuery() error {
	switch first := p.peek(); {
	case first.is("SELECT") && !p.tokens[p.next+1].isSymbol("."):
		for i, t := range p.tokens {
			if t.is("WHERE") {
				behind := errorAt(p.text, p.tokens[i+1].offset, "") // the end of the text is a token too
				return errorAt(p.text, first.offset, "a whole query stands here: leave out SELECT … WHERE, and write only what stands behind it, from %s on", behind.place())
			}
		}
		return errorAt(p.text, first.offset, "a whole query stands here, and it has no condition: to select all, write %s", selectAll)
	case first.is("WHERE"):
		return errorAt(p.text, first.offset, "leave out WHERE, and write only what stands behind it")
	case first.isSymbol("*"):
		return errorAt(p.text, first.offset, "* is no condition: to select all, write %s", selectAll)
	}
	return nil
}

// otherwise is about what stands behind an operand where other languages have an
// operator: it says what to write.
func (p *parser) otherwise(left expression) error {
	next, after := p.peek(), p.tokens[min(p.next+1, len(p.tokens)-1)]
	subject := "the property"
	if of, isPath := left.(path); isPath {
		subject = shown(of)
	}
	var advice string
	switch {
	case next.is("IS"):
		advice = fmt.Sprintf("IS is no operator; IS_DEFINED tells whether it is there: write %s", defined(after, subject, p.tokens[p.next:]))
	case next.is("NOT") && after.is("IN"):
		advice = "NOT IN is spelled NIN, with a list in square brackets, such as NIN ['a', 'b']"
	case next.is("EXISTS"):
		advice = "EXISTS is no operator; write IS_DEFINED(" + subject + ")"
	case next.isSymbol("[") && after.kind == tokenString:
		advice = "a name that is odd is written behind a dot, in [[ ]] and without quotation marks: " + subject + "." + quoteName(after.text)
	default:
		return nil
	}
	return errorAt(p.text, next.offset, "%s", advice)
}

// defined is what IS NULL, IS NOT NULL, IS DEFINED and the like stand for.
func defined(after token, subject string, rest []token) string {
	negated, word := false, after
	if after.is("NOT") && len(rest) > 2 {
		negated, word = true, rest[2]
	}
	if word.is("null") || word.is("undefined") || word.is("MISSING") {
		negated = !negated
	}
	if negated {
		return "NOT IS_DEFINED(" + subject + ")"
	}
	return "IS_DEFINED(" + subject + ")"
}

// otherComparison is about comparisons as other languages spell them; operator has
// been read.
func (p *parser) otherComparison(operator string) error {
	next := p.peek()
	var advice string
	switch {
	case operator == "=" && next.isSymbol("="):
		advice = "= is the comparison: write it once"
	case operator == "=" && (next.isSymbol(">") || next.isSymbol("<")):
		advice = "the operator is spelled " + next.text + "="
	default:
		return nil
	}
	return errorAt(p.text, next.offset, "%s", advice)
}

// noWord says what to write in place of a character that begins no word of the
// language.
func noWord(first rune) string {
	switch {
	case strings.ContainsRune("‘’‚‛“”„‟«»‹›`´′″＇＂", first):
		return fmt.Sprintf("%q is a typographic quotation mark: a string stands in ' or \"", first)
	case first == ';':
		return "leave out the semicolon"
	case first == '!':
		return "! is written NOT, and != between two values"
	case first == '&':
		return "& and && are written AND"
	case first == '|':
		return "| and || are written OR"
	}
	return fmt.Sprintf("%q has no meaning here; put a name with unusual characters in [[ ]]", first)
}

// joinedName is what subtractions without blanks may have meant as one name.
type joinedName struct {
	read  string // as it is understood
	meant path
	// paths tells that a property is subtracted, not only numbers.
	paths bool
}

func joinedNameOf(e expression) (name joinedName, found bool) {
	if p, isPath := e.(path); isPath && kindsOf(p) == kindsStored {
		return joinedName{read: canonical(p), meant: p}, true
	}
	b, isBinary := e.(binary)
	if !isBinary || !b.joined {
		return joinedName{}, false
	}
	if name, found = joinedNameOf(b.left); !found {
		return joinedName{}, false
	}
	names := slices.Clone(name.meant.names)
	last := len(names) - 1
	switch right := b.right.(type) {
	case path:
		names[last] += "-" + right.names[0]
		return joinedName{read: name.read + "-" + canonical(right), meant: path{append(names, right.names[1:]...)}, paths: true}, true
	case constant:
		names[last] += "-" + right.literal
		return joinedName{read: name.read + "-" + right.literal, meant: path{names}, paths: name.paths}, right.literal != ""
	}
	return joinedName{}, false
}

// misread returns the name that was probably meant where one property is subtracted
// from another without a blank: tags.cost-center.
func misread(e expression) (joinedName, bool) {
	name, found := joinedNameOf(e)
	return name, found && name.paths
}
