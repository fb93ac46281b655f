package cast

import (
	"regexp"
	"strings"
)

// style is how a text is shown; it is a class of the drawing.
type style string

const (
	plain  style = ""
	bold   style = "b"
	faint  style = "f"
	green  style = "g"
	yellow style = "y"
	red    style = "r"
)

// sequence is how a terminal is asked for a style.
var sequence = regexp.MustCompile(`\x1b\[([0-9;]*)m`)

// styled takes a line apart that begins in a style, and returns that in which it ends.
func styled(text string, current style) (spans []span, after style) {
	add := func(text string) {
		if text != "" {
			spans = append(spans, span{text, current})
		}
	}
	for {
		found := sequence.FindStringSubmatchIndex(text)
		if found == nil {
			add(text)
			return spans, current
		}
		add(text[:found[0]])
		current = named(text[found[2]:found[3]])
		text = text[found[1]:]
	}
}

// named is the style of a sequence's numbers: those that kubectl-twin uses, by 16 or 256 colours.
func named(numbers string) style {
	switch strings.TrimPrefix(numbers, "0;") {
	case "1":
		return bold
	case "2":
		return faint
	case "32", "38;5;28":
		return green
	case "33", "38;5;130":
		return yellow
	case "31", "38;5;160":
		return red
	}
	return plain
}
