package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Style says what a text means; it decides on the colour.
type Style int

// The styles. What is not Plain is told by a word or a sign as well, for those who see no colour.
const (
	Plain Style = iota
	Good
	Warning
	Bad
	Faint
	Heading
)

// reset ends a colour.
const reset = "\x1b[0m"

// sequence is of the 256 colours, which terminals do not redefine: the usual yellow and green cannot be read on white.
func (s Style) sequence() string {
	switch s {
	case Good:
		return "\x1b[38;5;28m"
	case Warning:
		return "\x1b[38;5;130m"
	case Bad:
		return "\x1b[38;5;160m"
	case Faint:
		return "\x1b[2m"
	case Heading:
		return "\x1b[1m"
	case Plain:
	}
	return ""
}

// Screen is where a command writes to.
type Screen struct {
	out io.Writer
	// colour tells whether styles are shown.
	colour bool
	// width in columns; 0 where lines may be as long as they need to be.
	width int
}

// NewScreen returns the screen of a writer. Colours and the width of lines are those of a
// terminal; where it is none, or the user does not want any, there are none.
func NewScreen(out io.Writer, noColour bool, getenv func(string) string) *Screen {
	s := &Screen{out: out}
	fd, isTerminal := Terminal(out)
	if !isTerminal {
		return s
	}
	s.colour = !noColour && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	if width, _, err := term.GetSize(fd); err == nil {
		s.width = width
	}
	return s
}

// Fixed returns a screen of so many columns, with colours or without.
func Fixed(out io.Writer, colour bool, width int) *Screen {
	return &Screen{out: out, colour: colour, width: width}
}

// Terminal tells whether a reader or writer is a terminal, and which file it is.
func Terminal(stream any) (fd int, ok bool) {
	file, isFile := stream.(*os.File)
	if !isFile {
		return 0, false
	}
	fd = int(file.Fd())
	return fd, term.IsTerminal(fd)
}

// Interactive tells whether the screen can be drawn anew.
func (s *Screen) Interactive() bool {
	_, ok := Terminal(s.out)
	return ok
}

// Clear empties the screen.
func (s *Screen) Clear() { fmt.Fprint(s.out, "\x1b[H\x1b[2J") }

// Line writes a line of one style. One that is longer than the screen is wide goes on below, further to the right.
func (s *Screen) Line(style Style, format string, args ...any) {
	text := clean(fmt.Sprintf(format, args...))
	words := strings.TrimLeft(text, " ")
	at := len(text) - len(words)
	next := at + hang
	for _, line := range s.wrap(words, at, next) {
		fmt.Fprintln(s.out, strings.Repeat(" ", at)+s.paint(style, line))
		at = next
	}
}

// hang is how much further to the right a line goes on.
const hang = 2

// readable is how many columns a text needs that goes on over several lines.
const readable = 40

// wrap breaks a text that begins in one column and goes on in another.
func (s *Screen) wrap(text string, at, next int) []string {
	if s.width < next+readable/2 {
		return []string{text}
	}
	return wrapped(text, s.width-at, s.width-next)
}

// Heading writes a heading below an empty line.
func (s *Screen) Heading(format string, args ...any) {
	fmt.Fprintln(s.out)
	s.Line(Heading, format, args...)
}

func (s *Screen) paint(style Style, text string) string {
	sequence := style.sequence()
	if !s.colour || sequence == "" || strings.TrimSpace(text) == "" {
		return text
	}
	return sequence + text + reset
}

// clean takes away what a terminal would act upon: values come from devices and other writers.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '\uFFFD'
		}
		return r
	}, text)
}

// Unlimited is the same screen with lines as long as they need to be.
func (s *Screen) Unlimited() *Screen { return &Screen{out: s.out, colour: s.colour} }
