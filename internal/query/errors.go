package query

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError says where a text stops being a query, and why.
type SyntaxError struct {
	// Offset is the position in bytes, from 0.
	Offset int
	// Line and Column are the position in lines and characters, from 1.
	Line, Column int
	// Problem says what was expected there and what was found.
	Problem string
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.place() + ": " + e.Problem }

func (e *SyntaxError) place() string {
	if e.Line == 1 {
		return fmt.Sprintf("column %d", e.Column)
	}
	return fmt.Sprintf("line %d, column %d", e.Line, e.Column)
}

func errorAt(text string, offset int, format string, args ...any) *SyntaxError {
	before := text[:offset]
	lineStart := strings.LastIndexByte(before, '\n') + 1
	return &SyntaxError{
		Offset:  offset,
		Line:    strings.Count(before, "\n") + 1,
		Column:  utf8.RuneCountInString(before[lineStart:]) + 1,
		Problem: fmt.Sprintf(format, args...),
	}
}
