package query

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parser is a recursive-descent parser: one method per level of precedence,
// loosest first, as in SQL: OR, AND, NOT, comparison, addition,
// multiplication, sign.
type parser struct {
	text    string
	dialect Dialect
	tokens  []token
	next    int
	nesting int
	source  source // once it is known
}

func newParser(text string, dialect Dialect) (*parser, error) {
	tokens, err := tokenize(text, dialect.Escape)
	if err != nil {
		return nil, err
	}
	return &parser{text: text, dialect: dialect, tokens: tokens}, nil
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) advance() token {
	current := p.tokens[p.next]
	if current.kind != tokenEnd {
		p.next++
	}
	return current
}

func (p *parser) acceptKeyword(keyword string) bool {
	if p.peek().is(keyword) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) acceptSymbol(symbol string) bool {
	if p.peek().isSymbol(symbol) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) expectSymbol(symbol, purpose string) error {
	if !p.acceptSymbol(symbol) {
		return p.unexpected("%q %s", symbol, purpose)
	}
	return nil
}

// unexpected is the error for the next token where something else belongs.
func (p *parser) unexpected(expected string, args ...any) error {
	found := p.peek()
	return errorAt(p.text, found.offset, "expected "+expected+", found %s", append(args, found.describe())...)
}

func (p *parser) expectEnd(expected string) error {
	if found := p.peek(); found.kind != tokenEnd {
		if hint, known := unsupportedClause(found); known {
			return errorAt(p.text, found.offset, "%s", hint)
		}
		return p.unexpected("%s", expected)
	}
	return nil
}

func unsupportedClause(t token) (string, bool) {
	for _, clause := range []struct{ word, advice string }{
		{"ORDER", ""}, {"OFFSET", ""}, {"LIMIT", ""}, {"HAVING", ""}, {"JOIN", ""},
		{"LIKE", "; STARTSWITH and ENDSWITH test the ends of a string"},
		{"CONTAINS", "; STARTSWITH and ENDSWITH test the ends of a string"},
		{"BETWEEN", "; write >= and <="},
	} {
		if t.is(clause.word) {
			return clause.word + " is not part of IoT Hub's query language" + clause.advice, true
		}
	}
	return "", false
}

// nested guards every recursion into a deeper expression.
func (p *parser) nested(parse func() (expression, error)) (expression, error) {
	p.nesting++
	defer func() { p.nesting-- }()
	if p.nesting > maxNesting {
		return nil, errorAt(p.text, p.peek().offset, "the text is nested deeper than %d levels; use fewer parentheses", maxNesting)
	}
	return parse()
}

func (p *parser) wholeCondition() (expression, error) {
	start := p.peek()
	if err := p.pastedQuery(); err != nil {
		return nil, err
	}
	root, err := p.condition()
	if err != nil {
		return nil, err
	}
	if height(root) > maxHeight {
		return nil, errorAt(p.text, start.offset, "the condition has more than %d levels of operations within operations", maxHeight)
	}
	return root, nil
}

func (p *parser) condition() (expression, error) {
	if p.dialect.LeftToRight {
		return p.leftToRight()
	}
	return p.joined("OR", true, func() (expression, error) {
		return p.joined("AND", false, p.negation)
	})
}

// leftToRight reads a condition whose ANDs and ORs bind alike.
func (p *parser) leftToRight() (expression, error) {
	condition, err := p.negation()
	for err == nil {
		or := p.acceptKeyword("OR")
		if !or && !p.acceptKeyword("AND") {
			return condition, nil
		}
		var next expression
		if next, err = p.negation(); err == nil {
			condition = newLogic(or, condition, next)
		}
	}
	return nil, err
}

func (p *parser) joined(keyword string, or bool, operand func() (expression, error)) (expression, error) {
	var operands []expression
	for {
		parsed, err := operand()
		if err != nil {
			return nil, err
		}
		operands = append(operands, parsed)
		if !p.acceptKeyword(keyword) {
			return newLogic(or, operands...), nil
		}
	}
}

func (p *parser) negation() (expression, error) {
	if !p.acceptKeyword("NOT") {
		return p.predicate()
	}
	operand, err := p.nested(p.negation)
	if err != nil {
		return nil, err
	}
	return not{operand}, nil
}

var (
	comparisons     = [...]string{"=", "!=", "<>", "<=", ">=", "<", ">"}
	additions       = [...]string{"+", "-"}
	multiplications = [...]string{"*", "/", "%"}
)

func isArithmetic(operator string) bool {
	return slices.Contains(additions[:], operator) || slices.Contains(multiplications[:], operator)
}

func (p *parser) predicate() (expression, error) {
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	switch {
	case p.acceptKeyword("IN"):
		return p.membership(left, false)
	case p.acceptKeyword("NIN"):
		return p.membership(left, true)
	}
	operator, found := p.acceptOperator(comparisons[:])
	if !found {
		return left, p.otherwise(left)
	}
	if err := p.otherComparison(operator); err != nil {
		return nil, err
	}
	right, err := p.sum()
	if err != nil {
		return nil, err
	}
	if operator == "<>" {
		operator = "!="
	}
	return binary{operator: operator, left: left, right: right}, nil
}

func (p *parser) acceptOperator(operators []string) (string, bool) {
	if next := p.peek(); next.kind == tokenSymbol && slices.Contains(operators, next.text) {
		p.advance()
		return next.text, true
	}
	return "", false
}

func (p *parser) membership(operand expression, negated bool) (expression, error) {
	if !p.peek().isSymbol("[") {
		return nil, p.unexpected("a list in square brackets, such as ['a', 'b']")
	}
	items, err := p.list()
	if err != nil {
		return nil, err
	}
	return membership{operand: operand, items: items, negated: negated}, nil
}

func (p *parser) sum() (expression, error) {
	return p.chain(additions[:], func() (expression, error) {
		return p.chain(multiplications[:], p.signed)
	})
}

// chain reads operands joined by operators of equal precedence, from the left.
func (p *parser) chain(operators []string, operand func() (expression, error)) (expression, error) {
	left, err := operand()
	if err != nil {
		return nil, err
	}
	for {
		at := p.peek().offset
		operator, found := p.acceptOperator(operators)
		if !found {
			return left, nil
		}
		joined := operator == "-" && p.peek().offset == at+1 && !blankBefore(p.text, at)
		right, err := operand()
		if err != nil {
			return nil, err
		}
		left = binary{operator: operator, left: left, right: right, joined: joined}
	}
}

func blankBefore(text string, offset int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:offset])
	return unicode.IsSpace(before)
}

func (p *parser) signed() (expression, error) {
	if !p.acceptSymbol("-") {
		return p.primary()
	}
	operand, err := p.nested(p.signed)
	if err != nil {
		return nil, err
	}
	number, isConstant := operand.(constant)
	if value, isNumber := number.value.(float64); isConstant && isNumber && !strings.HasPrefix(number.literal, "-") {
		return constant{value: -value, literal: "-" + number.literal}, nil
	}
	return negative{operand}, nil
}

func (p *parser) primary() (expression, error) {
	next := p.peek()
	switch {
	case next.isSymbol("("):
		p.advance()
		inner, err := p.nested(p.condition)
		if err != nil {
			return nil, err
		}
		return inner, p.expectSymbol(")", "to close the parenthesis")
	case next.isSymbol("["):
		return p.list()
	case next.kind == tokenString:
		p.advance()
		return constant{value: next.text}, nil
	case next.kind == tokenNumber:
		p.advance()
		value, _ := parseNumber(next.text) // the lexer accepts numbers only
		return constant{value: value, literal: next.text}, nil
	case next.kind == tokenName:
		return p.word()
	case next.kind == tokenQuotedName:
		return p.path()
	}
	return nil, p.unexpected("a property, a constant or a function")
}

// word reads what starts with a plain name: a constant, a function or a path.
func (p *parser) word() (expression, error) {
	if value, isWord := wordConstant(p.peek()); isWord {
		p.advance()
		return value, nil
	}
	if p.tokens[p.next+1].isSymbol("(") {
		return p.function()
	}
	return p.path()
}

func wordConstant(t token) (constant, bool) {
	switch {
	case t.is("true"):
		return constant{value: true}, true
	case t.is("false"):
		return constant{value: false}, true
	case t.is("null"):
		return constant{value: nil}, true
	case t.is("undefined"):
		return constant{value: undefined{}}, true
	}
	return constant{}, false
}

func (p *parser) list() (list, error) {
	if err := p.expectSymbol("[", "to open a list"); err != nil {
		return list{}, err
	}
	var items []expression
	for !p.peek().isSymbol("]") {
		if len(items) > 0 && !p.acceptSymbol(",") {
			return list{}, p.unexpected(`"," or "]" in the list`)
		}
		start := p.peek()
		item, err := p.signed()
		if err != nil {
			return list{}, err
		}
		if _, isConstant := item.(constant); !isConstant {
			return list{}, errorAt(p.text, start.offset, "a list holds constants only: strings, numbers, true, false, null or undefined")
		}
		items = append(items, item)
	}
	p.advance()
	return list{items}, nil
}
