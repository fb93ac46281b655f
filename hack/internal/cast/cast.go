// Package cast keeps what a terminal showed, and draws it as an SVG that plays it in any browser, without scripts.
package cast

import (
	"strings"
	"time"
)

// Recording is what a terminal showed, line by line.
type Recording struct {
	// Columns and Rows are the size of the screen.
	Columns, Rows int

	lines []line
	at    time.Duration
}

// line is a line of the screen, and when it came.
type line struct {
	at    time.Duration
	spans []span
}

// span is a piece of a line in one style.
type span struct {
	text  string
	style style
}

// Pause lets time pass.
func (r *Recording) Pause(d time.Duration) { r.at += d }

// Prompt is what is typed, behind a prompt.
func (r *Recording) Prompt(typed string) {
	r.add([]span{{"$ ", faint}, {typed, bold}})
}

// Note is what is said beside the commands.
func (r *Recording) Note(text string) {
	if len(r.lines) > 0 {
		r.add(nil)
	}
	r.add([]span{{"# " + text, faint}})
}

// Output is what a command printed, with the styles that it asked a terminal for.
func (r *Recording) Output(text string) {
	text = strings.ReplaceAll(text, "\r", "")
	current := plain
	for printed := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		var spans []span
		spans, current = styled(printed, current)
		r.add(spans)
	}
}

// add adds a line, broken where the screen ends.
func (r *Recording) add(spans []span) {
	row, room := []span{}, r.Columns
	for _, s := range spans {
		rest := []rune(s.text)
		for len(rest) > room {
			row = append(row, span{string(rest[:room]), s.style})
			rest = rest[room:]
			r.lines = append(r.lines, line{r.at, row})
			row, room = []span{}, r.Columns
		}
		if len(rest) > 0 {
			row = append(row, span{string(rest), s.style})
			room -= len(rest)
		}
	}
	r.lines = append(r.lines, line{r.at, row})
}
