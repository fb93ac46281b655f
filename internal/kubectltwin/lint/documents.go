package lint

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML document of a file.
type document struct {
	text []byte
	// before counts the lines of the file before it.
	before int
}

// separator begins a document.
const separator = "---"

// split takes a file apart. Documents are read one by one, so that one that is no YAML does not hide the others.
func split(text []byte) []document {
	var out []document
	current, line := document{}, 0
	for part := range bytes.Lines(text) {
		line++
		if rest, found := bytes.CutPrefix(part, []byte(separator)); found && (len(rest) == 0 || rest[0] == '\n' || rest[0] == '\r' || rest[0] == ' ' || rest[0] == '\t') {
			out = append(out, current)
			current = document{before: line}
			continue
		}
		current.text = append(current.text, part...)
	}
	return append(out, current)
}

// errorLine is where the YAML library says what is wrong.
var errorLine = regexp.MustCompile(`line (\d+): `)

// parse reads a document. Lines of its nodes are those of the file.
func (d document) parse() (*yaml.Node, *Finding) {
	var node yaml.Node
	err := yaml.Unmarshal(d.text, &node)
	if err == nil {
		shift(&node, d.before)
		return &node, nil
	}
	finding := &Finding{Line: d.before + 1, Column: 1, Severity: Error, Rule: RuleSyntax}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if match := errorLine.FindStringSubmatch(text); match != nil {
		if line, err := strconv.Atoi(match[1]); err == nil {
			finding.Line = d.before + line
		}
		text = strings.Replace(text, match[0], "", 1)
	}
	finding.Message = "no YAML: " + strings.Join(strings.Fields(text), " ")
	return nil, finding
}

func shift(node *yaml.Node, lines int) {
	node.Line += lines
	for _, child := range node.Content {
		shift(child, lines)
	}
}
