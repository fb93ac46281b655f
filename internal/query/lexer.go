package query

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenQuotedName // [[anything]]
	tokenNumber
	tokenString
	tokenSymbol
)

// token is one word of the language. text is its meaning: a string without
// quotes and escapes, a name without brackets, otherwise the source text.
type token struct {
	kind   tokenKind
	text   string
	offset int
}

// is reports whether the token is the keyword, in any case.
func (t token) is(keyword string) bool {
	return t.kind == tokenName && strings.EqualFold(t.text, keyword)
}

func (t token) isSymbol(symbol string) bool {
	return t.kind == tokenSymbol && t.text == symbol
}

func (t token) describe() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the text"
	case tokenString:
		return "a string"
	case tokenQuotedName:
		return "[[" + t.text + "]]"
	default:
		return strconv.Quote(t.text)
	}
}

type lexer struct {
	text    string
	offset  int
	quoting Escape
}

// tokenize splits a text into its words; the last one is the end.
func tokenize(text string, quoting Escape) ([]token, error) {
	if !utf8.ValidString(text) {
		return nil, errorAt(text, invalidByte(text), "the text is not valid UTF-8")
	}
	if utf8.RuneCountInString(text) > MaxLength {
		return nil, errorAt(text, 0, "the text is longer than %d characters, which is all IoT Hub accepts", MaxLength)
	}
	l := &lexer{text: text, quoting: quoting}
	var tokens []token
	for {
		next, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, next)
		if next.kind == tokenEnd {
			return tokens, nil
		}
	}
}

func invalidByte(text string) int {
	for i, r := range text {
		if _, size := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return len(text)
}

// symbols lists what is neither a word nor a constant, longest first.
var symbols = [...]string{"!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "+", "-", "*", "/", "%"}

func (l *lexer) next() (token, error) {
	rest := strings.TrimLeftFunc(l.text[l.offset:], unicode.IsSpace)
	l.offset = len(l.text) - len(rest)
	if rest == "" {
		return token{kind: tokenEnd, offset: l.offset}, nil
	}
	first, _ := utf8.DecodeRuneInString(rest)
	switch {
	case strings.HasPrefix(rest, "[["):
		return l.quotedName()
	case first == '\'' || first == '"':
		return l.stringConstant(byte(first))
	case isNameStart(first):
		return l.take(tokenName, prefixLength(rest, isNamePart)), nil
	case first >= '0' && first <= '9', first == '.' && len(rest) > 1 && isDigit(rest[1]) && !l.afterName():
		return l.number()
	}
	for _, symbol := range symbols {
		if strings.HasPrefix(rest, symbol) {
			return l.take(tokenSymbol, len(symbol)), nil
		}
	}
	return token{}, errorAt(l.text, l.offset, "%s", noWord(first))
}

// afterName tells a path's dot from a number's.
func (l *lexer) afterName() bool {
	before, _ := utf8.DecodeLastRuneInString(l.text[:l.offset])
	return isNamePart(before) || before == ']'
}

func (l *lexer) take(kind tokenKind, length int) token {
	taken := token{kind: kind, text: l.text[l.offset : l.offset+length], offset: l.offset}
	l.offset += length
	return taken
}

func (l *lexer) quotedName() (token, error) {
	name, _, closed := strings.Cut(l.text[l.offset+2:], "]]")
	if !closed {
		return token{}, errorAt(l.text, l.offset, "the name after [[ has no closing ]]")
	}
	taken := token{kind: tokenQuotedName, text: name, offset: l.offset}
	l.offset += len(name) + len("[[]]")
	return taken, nil
}

func (l *lexer) number() (token, error) {
	rest := l.text[l.offset:]
	length := numberLength(rest)
	literal := rest[:length]
	if next, _ := utf8.DecodeRuneInString(rest[length:]); isNamePart(next) {
		return token{}, errorAt(l.text, l.offset, "%q is no number", literal+string(next))
	}
	if _, ok := parseNumber(literal); !ok {
		return token{}, errorAt(l.text, l.offset, "%q is no number, or too large for one", literal)
	}
	return l.take(tokenNumber, length), nil
}

func numberLength(text string) int {
	if len(text) > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') {
		return 2 + prefixLength(text[2:], func(r rune) bool { return unicode.Is(unicode.ASCII_Hex_Digit, r) })
	}
	digits := func(r rune) bool { return r >= '0' && r <= '9' }
	length := prefixLength(text, digits)
	if strings.HasPrefix(text[length:], ".") {
		length += 1 + prefixLength(text[length+1:], digits)
	}
	exponent := text[length:]
	if exponent == "" || exponent[0] != 'e' && exponent[0] != 'E' {
		return length
	}
	sign := prefixLength(exponent[1:], func(r rune) bool { return r == '+' || r == '-' })
	if power := prefixLength(exponent[1+sign:], digits); sign <= 1 && power > 0 {
		length += 1 + sign + power
	}
	return length
}

// parseNumber gives a literal's value; every number of the language is a
// double, as in JSON's practice.
func parseNumber(literal string) (float64, bool) {
	if len(literal) > 1 && (literal[1] == 'x' || literal[1] == 'X') {
		value, err := strconv.ParseUint(literal[2:], 16, 64)
		return float64(value), err == nil
	}
	value, err := strconv.ParseFloat(literal, 64)
	return value, err == nil
}

// stringConstant reads a string in either quote.
func (l *lexer) stringConstant(quote byte) (token, error) {
	start := l.offset
	var value strings.Builder
	for i := start + 1; i < len(l.text); {
		switch c := l.text[i]; {
		case c == quote && l.quoting != BackslashEscape && i+1 < len(l.text) && l.text[i+1] == quote:
			value.WriteByte(quote)
			i += 2
		case c == quote:
			l.offset = i + 1
			return token{kind: tokenString, text: value.String(), offset: start}, nil
		case c == '\\' && l.quoting != DoubledEscape:
			length, err := l.escape(i, &value)
			if err != nil {
				return token{}, err
			}
			i += length
		default:
			value.WriteByte(c)
			i++
		}
	}
	return token{}, errorAt(l.text, start, "the string has no closing %c", quote)
}

// escape appends the meaning of the escape at offset and returns its length.
func (l *lexer) escape(offset int, value *strings.Builder) (int, error) {
	rest := l.text[offset+1:]
	switch {
	case rest != "" && strings.ContainsRune(`'"\`, rune(rest[0])):
		value.WriteByte(rest[0])
		return 2, nil
	case rest != "" && rest[0] == 'u':
		return l.unicodeEscape(offset, value)
	}
	return 0, errorAt(l.text, offset, `unknown escape; the known ones are \' \" \\ and \uXXXX`)
}

func (l *lexer) unicodeEscape(offset int, value *strings.Builder) (int, error) {
	first, ok := hexUnit(l.text[offset:])
	if !ok {
		return 0, errorAt(l.text, offset, `\u needs four hexadecimal digits`)
	}
	if !utf16.IsSurrogate(first) {
		value.WriteRune(first)
		return 6, nil
	}
	second, ok := hexUnit(l.text[offset+6:])
	decoded := utf16.DecodeRune(first, second)
	if !ok || decoded == unicode.ReplacementChar {
		return 0, errorAt(l.text, offset, `\u with half a surrogate pair is no character`)
	}
	value.WriteRune(decoded)
	return 12, nil
}

func hexUnit(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(unit), err == nil
}

func isNameStart(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) }

func isNamePart(r rune) bool {
	return isNameStart(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// prefixLength is the length in bytes of the longest prefix of accepted characters.
func prefixLength(text string, accept func(rune) bool) int {
	end := strings.IndexFunc(text, func(r rune) bool { return !accept(r) })
	if end < 0 {
		return len(text)
	}
	return end
}
