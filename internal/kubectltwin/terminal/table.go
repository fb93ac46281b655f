package terminal

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
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
	if s.width > 0 {
		fit(widths, s.width-len(t.indent))
	}
	for _, row := range t.rows {
		var line strings.Builder
		line.WriteString(t.indent)
		for i, cell := range row {
			text := cut(cell.Text, widths[i])
			line.WriteString(s.paint(cell.Style, text))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)) + gap)
			}
		}
		fmt.Fprintln(s.out, strings.TrimRight(line.String(), " "))
	}
}

func (t *Table) widths() []int {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell.Text))
		}
	}
	return widths
}

// fit narrows the widest columns until the table has its place, or no column can give more.
func fit(widths []int, room int) {
	total := (len(widths) - 1) * len(gap)
	for _, width := range widths {
		total += width
	}
	for total > room {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= narrowest {
			return
		}
		widths[widest]--
		total--
	}
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + cutMark
}
