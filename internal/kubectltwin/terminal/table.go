package terminal

import (
	"fmt"
	"slices"
	"strings"
)

const (
	gap = "  "
	// narrowest is what a column is cut to at most, so that it still tells something.
	narrowest = 8
	cutMark   = "…"
)

// Cell is one cell of a table.
type Cell struct {
	Text  string
	Style Style
}

// Text is a cell without a style.
func Text(format string, args ...any) Cell { return Cell{Text: fmt.Sprintf(format, args...)} }

// Styled is a cell with one.
func Styled(style Style, format string, args ...any) Cell {
	return Cell{Text: fmt.Sprintf(format, args...), Style: style}
}

// Table lays out rows in columns.
type Table struct {
	indent string
	rows   [][]Cell
	// kept are columns that are cut only when all others are narrow already.
	kept []int
	// sentences tells that the last column is never cut.
	sentences bool
}

// NewTable returns a table that is moved to the right by so many blanks, with these headings if there are any.
func NewTable(indent int, headings ...string) *Table {
	t := &Table{indent: strings.Repeat(" ", indent)}
	if len(headings) > 0 {
		cells := make([]Cell, len(headings))
		for i, heading := range headings {
			cells[i] = Cell{Text: heading, Style: Heading}
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

// Keep has columns cut last: by them the rows are told apart.
func (t *Table) Keep(columns ...int) *Table {
	t.kept = columns
	return t
}

// Sentences has the last column go on below where it has no room: it says what to do.
func (t *Table) Sentences() *Table {
	t.sentences = true
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...Cell) {
	for i := range cells {
		cells[i].Text = clean(cells[i].Text)
	}
	t.rows = append(t.rows, cells)
}

// Table writes a table, cut to the width of the screen.
func (s *Screen) Table(t *Table) {
	widths := t.widths()
	if s.width > 0 && !t.sentences {
		fit(widths, s.width-len(t.indent), t.kept)
	}
	for _, row := range t.rows {
		var line strings.Builder
		line.WriteString(t.indent)
		at := len(t.indent)
		for i, cell := range row[:len(row)-1] {
			text := cut(cell.Text, widths[i])
			line.WriteString(s.paint(cell.Style, text) + strings.Repeat(" ", widths[i]-columns(text)) + gap)
			at += widths[i] + len(gap)
		}
		last := row[len(row)-1]
		if t.sentences {
			line.WriteString(s.sentence(last, at, len(t.indent)+widths[0]+len(gap)))
		} else {
			line.WriteString(s.paint(last.Style, cut(last.Text, widths[len(row)-1])))
		}
		fmt.Fprintln(s.out, strings.TrimRight(line.String(), " "))
	}
}

// sentence is a cell that begins in a column. It goes on below itself if it can be read there, or else below the second column.
func (s *Screen) sentence(cell Cell, at, second int) string {
	next := at
	if s.width-at < readable {
		next = min(at, second)
	}
	lines := s.wrap(cell.Text, at, next)
	for i := range lines {
		lines[i] = s.paint(cell.Style, lines[i])
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", next))
}

func (t *Table) widths() []int {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(cell.Text))
		}
	}
	return widths
}

// fit narrows the widest columns until the table has its place, or no column can give more.
func fit(widths []int, room int, kept []int) {
	total := (len(widths) - 1) * len(gap)
	for _, width := range widths {
		total += width
	}
	for total > room {
		widest := widestBut(widths, kept)
		if widest < 0 {
			widest = widestBut(widths, nil)
		}
		if widest < 0 {
			return
		}
		widths[widest]--
		total--
	}
}

// widestBut is the widest of the other columns that can give something, or -1.
func widestBut(widths, kept []int) int {
	found := -1
	for i, width := range widths {
		if !slices.Contains(kept, i) && width > narrowest && (found < 0 || width > widths[found]) {
			found = i
		}
	}
	return found
}
