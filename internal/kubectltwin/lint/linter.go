package lint

import (
	"context"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubeyaml "sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// Linter holds manifests against the rules. It is safe for concurrent use.
type Linter struct {
	known map[schema.GroupVersionKind]*definition
}

// New returns a linter with the custom resource definitions that the program was built with.
func New() (*Linter, error) {
	known, err := definitions()
	if err != nil {
		return nil, fmt.Errorf("reading the custom resource definitions: %w", err)
	}
	return &Linter{known: known}, nil
}

// File checks the manifests of a file, and counts those of this API. Other kinds are left out.
func (l *Linter) File(ctx context.Context, name string, text []byte) (findings []Finding, manifests int) {
	for _, doc := range split(text) {
		if len(strings.TrimSpace(string(doc.text))) == 0 {
			continue
		}
		found, n := l.document(ctx, doc)
		manifests += n
		for _, f := range found {
			f.File = name
			findings = append(findings, f)
		}
	}
	return findings, manifests
}

func (l *Linter) document(ctx context.Context, doc document) ([]Finding, int) {
	node, broken := doc.parse()
	if broken != nil {
		return []Finding{*broken}, 0
	}
	if node.Kind == 0 || !ours(node) { // comments alone, or another API's
		return nil, 0
	}
	text, err := kubeyaml.YAMLToJSON(doc.text)
	var object map[string]any
	if err == nil {
		err = json.Unmarshal(text, &object)
	}
	if err != nil {
		return []Finding{{Line: node.Line, Column: node.Column, Severity: Error, Rule: RuleSyntax, Message: strings.Join(strings.Fields(err.Error()), " ")}}, 0
	}
	c := &check{linter: l}
	duplicates(node, "", func(key *yaml.Node, path string, first int) {
		c.findings = append(c.findings, Finding{
			Line: key.Line, Column: key.Column, Severity: Error, Rule: RuleDuplicateKey, Message: fmt.Sprintf("%s: the key is in line %d already", path, first),
		})
	})
	c.object(ctx, node, "", object)
	return c.findings, c.manifests
}

// ours tells whether a document, or an item of a list in it, may be of this API: all else is not looked at.
func ours(node *yaml.Node) bool {
	for _, child := range node.Content {
		if child.Kind == yaml.ScalarNode && strings.HasPrefix(child.Value, v1alpha1.SchemeGroupVersion.Group+"/") || ours(child) {
			return true
		}
	}
	return false
}

// check is one document.
type check struct {
	linter    *Linter
	node      *yaml.Node
	prefix    string
	name      string
	findings  []Finding
	manifests int
}

// object checks an object, or the items of a list. prefix leads to it in the document.
func (c *check) object(ctx context.Context, node *yaml.Node, prefix string, object map[string]any) {
	obj := &unstructured.Unstructured{Object: object}
	if items, isList := object["items"].([]any); isList && strings.HasSuffix(obj.GetKind(), "List") {
		for i, item := range items {
			if member, ok := item.(map[string]any); ok {
				c.object(ctx, node, fmt.Sprintf("%s.items[%d]", prefix, i), member)
			}
		}
		return
	}
	gvk := obj.GroupVersionKind()
	if gvk.Group != v1alpha1.SchemeGroupVersion.Group {
		return
	}
	c.manifests++
	c.node, c.prefix, c.name = node, prefix, gvk.Kind+"/"+obj.GetName()
	known := c.linter.known[gvk]
	if known == nil {
		versions, err := versions(c.linter.known, gvk.GroupKind())
		if err != nil {
			c.found(Error, RuleUnknownVersion, "kind", "there is no kind "+gvk.Kind+" in "+gvk.Group)
			return
		}
		c.found(Error, RuleUnknownVersion, "apiVersion", "there is no version "+gvk.Version+" of it: use "+strings.Join(versions, " or "))
		return
	}
	c.declaration(ctx, known, obj)
}

func (c *check) declaration(ctx context.Context, known *definition, obj *unstructured.Unstructured) {
	unknown, err := known.prepare(obj.Object)
	for _, path := range unknown {
		c.found(Error, RuleUnknownField, path, "unknown field")
	}
	if err != nil {
		c.found(Error, RuleSchema, "metadata", strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	errs := known.validate(ctx, obj)
	for _, err := range errs {
		c.refused(RuleSchema, err)
	}
	if len(errs) > 0 {
		return
	}
	refused, doubts, err := admission(obj)
	if err != nil {
		c.found(Error, RuleSchema, "spec", err.Error())
	}
	for _, err := range refused {
		c.refused(RuleDeclaration, err)
	}
	for _, doubt := range doubts {
		path, text, _ := strings.Cut(doubt, ": ")
		c.found(Warning, RuleDoubt, path, text)
	}
}

func (c *check) refused(rule Rule, err *field.Error) {
	if text, isText := err.BadValue.(string); isText && credential.LooksLike(text) {
		err.BadValue = field.OmitValueType{}
	}
	at := err.Field
	if at == (*field.Path)(nil).String() {
		at = "metadata" // a rule of the whole object sees its name beside what has paths of its own
	}
	c.found(Error, rule, at, strings.Join(strings.Fields(err.ErrorBody()), " "))
}

func (c *check) found(severity Severity, rule Rule, path, message string) {
	path = strings.TrimPrefix(path, ".")
	line, column := locate(c.node, c.prefix+"."+path)
	c.findings = append(c.findings, Finding{Line: line, Column: column, Severity: severity, Rule: rule, Object: c.name, Message: path + ": " + message})
}

// admission asks internal/validation, as the webhooks do.
func admission(obj *unstructured.Unstructured) (refused field.ErrorList, doubts []string, err error) {
	convert := runtime.DefaultUnstructuredConverter.FromUnstructured
	switch obj.GetKind() {
	case "DeviceTwin":
		var typed v1alpha1.DeviceTwin
		if err := convert(obj.Object, &typed); err != nil {
			return nil, nil, err
		}
		declared, refused := validation.DeviceTwin(&typed)
		if len(refused) > 0 {
			return refused, nil, nil
		}
		return nil, validation.DeviceTwinDoubts(declared), nil
	case "DeviceTwinSet":
		var typed v1alpha1.DeviceTwinSet
		if err := convert(obj.Object, &typed); err != nil {
			return nil, nil, err
		}
		declared, refused := validation.DeviceTwinSet(&typed)
		if len(refused) > 0 {
			return refused, nil, nil
		}
		return nil, validation.DeviceTwinSetDoubts(declared), nil
	case "HubConnection":
		var typed v1alpha1.HubConnection
		if err := convert(obj.Object, &typed); err != nil {
			return nil, nil, err
		}
		return validation.HubConnection(&typed), validation.HubConnectionDoubts(&typed), nil
	case "TwinQuery":
		var typed v1alpha1.TwinQuery
		if err := convert(obj.Object, &typed); err != nil {
			return nil, nil, err
		}
		condition, refused := validation.TwinQuery(&typed)
		if len(refused) > 0 {
			return refused, nil, nil
		}
		return nil, validation.TwinQueryDoubts(&typed, condition), nil
	case "TwinRequest":
		var typed v1alpha1.TwinRequest
		if err := convert(obj.Object, &typed); err != nil {
			return nil, nil, err
		}
		return validation.TwinRequest(&typed), validation.TwinRequestDoubts(&typed), nil
	}
	return nil, nil, fmt.Errorf("no rules are known for a %s", obj.GetKind())
}
