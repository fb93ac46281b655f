package terminal

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns of a terminal a text takes.
func columns(text string) (n int) {
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// columnsOf is none for what is put on the character before, and two for what East Asian scripts and emoji take.
func columnsOf(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	case width.Neutral, width.EastAsianAmbiguous, width.EastAsianNarrow, width.EastAsianHalfwidth:
	}
	return 1
}

// cut takes so much of a text as has room, and says so.
func cut(text string, room int) string {
	if columns(text) <= room {
		return text
	}
	room -= columns(cutMark)
	for i, r := range text {
		if room -= columnsOf(r); room < 0 {
			return text[:i] + cutMark
		}
	}
	return text
}

// wrapped breaks a text at blanks: the first line has so much room, and each further one as much as rest. A word that
// is longer than a line is left to the terminal.
func wrapped(text string, first, rest int) (lines []string) {
	room, line := first, ""
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
			line = word
		case columns(line)+1+columns(word) > room && strings.TrimSpace(line) != "":
			lines = append(lines, line)
			room, line = rest, word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
