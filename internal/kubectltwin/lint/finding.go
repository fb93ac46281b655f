package lint

import "strconv"

// Severity says whether a finding is a reason to refuse a manifest.
type Severity string

const (
	// Error is what the API server or admission would refuse, or drop.
	Error Severity = "error"
	// Warning is what is probably not meant.
	Warning Severity = "warning"
)

// Rule says which kind of check found something.
type Rule string

const (
	// RuleSyntax is a document that is no YAML or no object.
	RuleSyntax Rule = "syntax"
	// RuleDuplicateKey is a key that is there twice, of which the last one would count.
	RuleDuplicateKey Rule = "duplicate-key"
	// RuleUnknownField is a field that the API server would drop.
	RuleUnknownField Rule = "unknown-field"
	// RuleUnknownVersion is a kind or version of this API that does not exist.
	RuleUnknownVersion Rule = "unknown-version"
	// RuleSchema is what the custom resource definition does not take.
	RuleSchema Rule = "schema"
	// RuleDeclaration is what admission refuses.
	RuleDeclaration Rule = "declaration"
	// RuleDoubt is what admission warns of.
	RuleDoubt Rule = "doubt"
)

// describe says of a rule what it finds.
func (r Rule) describe() string {
	switch r {
	case RuleSyntax:
		return "A document is no YAML, or no object."
	case RuleDuplicateKey:
		return "A key is there twice; the last one would count."
	case RuleUnknownField:
		return "The API server would drop a field that the schema does not have."
	case RuleUnknownVersion:
		return "There is no such kind or version in this API."
	case RuleSchema:
		return "The custom resource definition does not take it."
	case RuleDeclaration:
		return "Admission refuses it: no hub would take it."
	case RuleDoubt:
		return "It is probably not meant."
	}
	return string(r)
}

// rules are all of them.
func rules() []Rule {
	return []Rule{RuleSyntax, RuleDuplicateKey, RuleUnknownField, RuleUnknownVersion, RuleSchema, RuleDeclaration, RuleDoubt}
}

// Finding is one thing that is wrong with a manifest.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	Rule     Rule     `json:"rule"`
	// Object is the kind and name of the manifest, if it has them.
	Object  string `json:"object,omitempty"`
	Message string `json:"message"`
}

// String is the finding in one line, as compilers print theirs.
func (f Finding) String() string {
	object := ""
	if f.Object != "" {
		object = f.Object + ": "
	}
	return f.File + ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column) + ": " + string(f.Severity) + ": " + object + f.Message
}
