package query

import (
	"slices"
	"strings"
)

// functions names the functions known in conditions on twins. The spelling
// without underscore is IoT Hub's for twin queries; its message routing
// spells them STARTS_WITH and ENDS_WITH.
// ARRAY_CONTAINS is not among IoT Hub's documented functions for twins; az and
// other tools of Microsoft's ask with it for the children of an edge device.
var functions = [...]string{isDefinedName, "STARTSWITH", "ENDSWITH", arrayContainsName}

const isDefinedName, arrayContainsName = "IS_DEFINED", "ARRAY_CONTAINS"

// typeFunctions are known in some dialects only.
var typeFunctions = [...]string{"IS_BOOL", "IS_NUMBER", "IS_STRING", "IS_OBJECT", "IS_ARRAY", "IS_NULL", "IS_PRIMITIVE"}

func (p *parser) function() (expression, error) {
	name := p.advance()
	p.advance() // the parenthesis
	upper := strings.ToUpper(name.text)
	if p.dialect.TypeFunctions && slices.Contains(typeFunctions[:], upper) {
		operand, err := p.nested(p.sum)
		if err != nil {
			return nil, err
		}
		return typeTest{function: upper, operand: operand}, p.expectSymbol(")", "after the argument of "+upper)
	}
	if !slices.Contains(functions[:], upper) {
		if spelling := strings.ReplaceAll(upper, "_", ""); slices.Contains(functions[:], spelling) {
			return nil, errorAt(p.text, name.offset, "unknown function %q; in queries it is spelled %s", name.text, spelling)
		}
		return nil, errorAt(p.text, name.offset, "unknown function %q; conditions on twins know %s", name.text, strings.Join(functions[:], ", "))
	}
	if upper == isDefinedName {
		argument, err := p.path()
		if err != nil {
			return nil, err
		}
		return isDefined{argument}, p.expectSymbol(")", "after the property of IS_DEFINED")
	}
	text, err := p.nested(p.sum)
	if err != nil {
		return nil, err
	}
	if err := p.expectSymbol(",", "between the two arguments of "+upper); err != nil {
		return nil, err
	}
	part, err := p.nested(p.sum)
	if err != nil {
		return nil, err
	}
	if err := p.expectSymbol(")", "after the two arguments of "+upper); err != nil {
		return nil, err
	}
	if upper == arrayContainsName {
		return arrayContains{array: text, item: part}, nil
	}
	return textTest{function: upper, text: text, part: part}, nil
}

// typeTest is one of typeFunctions. What is missing is of no type.
type typeTest struct {
	function string
	operand  expression
}

func (t typeTest) evaluate(doc Document) any {
	of := "IS_"
	switch t.operand.evaluate(doc).(type) {
	case bool:
		of += "BOOL"
	case float64:
		of += "NUMBER"
	case string:
		of += "STRING"
	case map[string]any:
		return t.function == "IS_OBJECT"
	case []any:
		return t.function == "IS_ARRAY"
	case nil:
		of += "NULL"
	default:
		return false
	}
	return t.function == of || t.function == "IS_PRIMITIVE"
}

func (t typeTest) write(p *printer) {
	p.WriteString(t.function + "(")
	t.operand.write(p)
	p.WriteByte(')')
}
