package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// choose reads name=value into the choices.
func choose(choices *hubemulator.Choices) func(string) error {
	return func(text string) error {
		name, value, given := strings.Cut(text, "=")
		if !given {
			return fmt.Errorf("%q is not name=value", text)
		}
		return choices.Set(name, value)
	}
}

const aboutChoices = `
Choices settle what IoT Hub's documents leave open and no recording shows. A
program should work under all of them. The first value is the default:
`

// choicesHelp lists all choices with their values.
func choicesHelp() string {
	text := bytes.NewBufferString(aboutChoices)
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	for _, choice := range hubemulator.KnownChoices() {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", choice.Name, choice.Meaning) // a buffer takes everything
		_, _ = io.WriteString(table, "\t  "+strings.Join(choice.Values, ", ")+"\n")
	}
	_ = table.Flush() // as above
	return text.String()
}
