package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// The values of --output.
const (
	JSON = "json"
	YAML = "yaml"
	Name = "name"
	Wide = "wide"
)

// Format is the flag --output: "" is a table for people.
type Format struct {
	value   string
	choices []string
}

// NewFormat returns the flag with its choices.
func NewFormat(choices ...string) *Format { return &Format{choices: choices} }

// AddFlag adds it to a command.
func (f *Format) AddFlag(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "output", "o", "what to print instead of a table: "+strings.Join(f.choices, ", "))
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return f.choices, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // the flag was added above
	}
}

// String implements pflag.Value.
func (f *Format) String() string { return f.value }

// Type implements pflag.Value.
func (f *Format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *Format) Set(value string) error {
	if !slices.Contains(f.choices, value) {
		return fmt.Errorf("should be one of %s", strings.Join(f.choices, ", "))
	}
	f.value = value
	return nil
}

// Structured tells whether a program reads what is printed.
func (f *Format) Structured() bool { return f.value == JSON || f.value == YAML }

// Count is how many there are of something, such as "1 message".
func Count[N int | int32 | int64](n N, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprintf("%d %s", n, of)
}

// Print writes a value as JSON or YAML.
func (f *Format) Print(out io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if f.value == YAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
	}
	_, err = out.Write(text)
	return err
}
