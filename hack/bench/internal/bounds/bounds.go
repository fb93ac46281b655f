// Package bounds holds measurements against what was asked of them.
package bounds

import (
	"errors"
	"fmt"
	"io"
)

// Bound is something that has to hold.
type Bound struct {
	What     string `json:"what"`
	Measured string `json:"measured"`
	Wanted   string `json:"wanted"`
	Held     bool   `json:"held"`
}

// None is the bound on something that must not be.
func None(what string, measured int) Bound {
	return Bound{what, fmt.Sprint(measured), "0", measured == 0}
}

// AtMost is a bound from above; format renders both numbers.
func AtMost(what, format string, measured, limit float64) Bound {
	return Bound{what, fmt.Sprintf(format, measured), "at most " + fmt.Sprintf(format, limit), measured <= limit}
}

// AtLeast is a bound from below.
func AtLeast(what, format string, measured, limit float64) Bound {
	return Bound{what, fmt.Sprintf(format, measured), "at least " + fmt.Sprintf(format, limit), measured >= limit}
}

// WriteTable writes the bounds as a table of Markdown.
func WriteTable(out io.Writer, bounds []Bound) {
	fmt.Fprintf(out, "| bound | measured | wanted | |\n|---|---|---|---|\n")
	for _, b := range bounds {
		verdict := "held"
		if !b.Held {
			verdict = "**missed**"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", b.What, b.Measured, b.Wanted, verdict)
	}
}

// Missed names each bound that did not hold; it is nil when all did.
func Missed(bounds []Bound) error {
	var errs []error
	for _, b := range bounds {
		if !b.Held {
			errs = append(errs, fmt.Errorf("bound missed: %s: %s, wanted %s", b.What, b.Measured, b.Wanted))
		}
	}
	return errors.Join(errs...)
}
