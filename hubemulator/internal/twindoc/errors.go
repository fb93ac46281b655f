package twindoc

import "fmt"

// Error says why a document is refused.
type Error struct {
	// Malformed says that it is not the JSON that is expected, rather than JSON
	// that breaks a rule.
	Malformed bool
	Text      string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

func invalid(format string, args ...any) *Error {
	return &Error{Text: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) *Error {
	return &Error{Malformed: true, Text: fmt.Sprintf(format, args...)}
}
