package configuration

import "fmt"

// Part is the part of a configuration that is invalid.
type Part string

// The parts that the hub has a code each for.
const (
	TargetCondition Part = "targetCondition"
	InContent       Part = "content"
	Metrics         Part = "metrics"
	// Argument is any other part.
	Argument Part = "argument"
)

// InvalidError says what is wrong with a configuration.
type InvalidError struct {
	Part    Part
	Problem string
}

// Error implements error.
func (i *InvalidError) Error() string { return i.Problem }

func invalid(part Part, format string, args ...any) *InvalidError {
	return &InvalidError{Part: part, Problem: fmt.Sprintf(format, args...)}
}
