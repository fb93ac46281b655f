package digitaltwin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// The rules that IoT Hub documents for what is written to a digital twin.
const (
	maxName  = 64 // characters
	maxDepth = 5  // objects within objects of a property's value
)

// name is how the properties, components and fields of a model are called.
var name = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9_]*[a-zA-Z0-9])?$`)

// Patch is a JSON Patch of a digital twin. It consists of operations on whole
// properties and components only, which is why no general implementation of
// JSON Patch would do.
type Patch []operation

type operation struct {
	remove bool // else it sets the value
	// names leads to a property or component at the root, or to a component's
	// property.
	names []string
	value any
	// component says that the value is a whole component.
	component bool
}

// ParsePatch reads a JSON Patch. Its errors are of type *store.Error.
func ParsePatch(text []byte) (Patch, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var members []map[string]any
	err := decoder.Decode(&members)
	if _, end := decoder.Token(); err != nil || members == nil || !errors.Is(end, io.EOF) {
		return nil, refuse(400505, "InvalidDigitalTwinJsonPatch", "The body should be a JSON Patch: an array of operations")
	}
	patch := make(Patch, 0, len(members))
	for _, wanted := range members {
		parsed, err := parseOperation(wanted)
		if err != nil {
			return nil, err
		}
		patch = append(patch, parsed)
	}
	return patch, nil
}

func refuse(number int, code, text string, args ...any) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: number, Code: code, Text: fmt.Sprintf(text, args...)}
}

func parseOperation(members map[string]any) (operation, error) {
	path, _ := members["path"].(string)
	names, err := parsePath(path)
	if err != nil {
		return operation{}, err
	}
	parsed := operation{names: names}
	switch members["op"] {
	case "remove":
		parsed.remove = true
		return parsed, nil
	case "add", "replace":
		value, given := members["value"]
		if !given {
			return operation{}, invalidValue(path, "an add or replace operation needs a value")
		}
		return parsed, parsed.take(path, value)
	}
	return operation{}, refuse(400505, "InvalidDigitalTwinJsonPatch", "'op' should be add, replace or remove. Error in path: %s.", path)
}

func parsePath(path string) ([]string, error) {
	inner, rooted := strings.CutPrefix(path, "/")
	if !rooted || inner == "" {
		return nil, refuse(400507, "InvalidDigitalTwinPatch",
			"Error in path: %s. 'path' string must be non-null, begin with '/' and have atleast the component name.", path)
	}
	names := strings.Split(inner, "/")
	if len(names) > len([]string{"component", "property"}) {
		return nil, refuse(400508, "InvalidDigitalTwinPatchPath",
			"Error in path: %s. It should lead to a property, a component, or a property of a component.", path)
	}
	for _, segment := range names {
		if !isName(segment) {
			return nil, refuse(400508, "InvalidDigitalTwinPatchPath", "Error in path: %s. "+namesText, path)
		}
	}
	return names, nil
}

const namesText = "Names should be 1 to 64 letters, digits and underscores, not begin with a digit or underscore, and not end with an underscore."

func isName(text string) bool { return len(text) <= maxName && name.MatchString(text) }

func invalidValue(path, problem string) *store.Error {
	return refuse(400506, "InvalidDigitalTwinPayload", "Error in path: %s. In a value, %s.", path, problem)
}

// take checks and keeps the value of an operation. At the root, an object with
// an empty $metadata is a component.
func (o *operation) take(path string, value any) error {
	o.value = value
	properties, isObject := value.(map[string]any)
	meta, marked := properties[metadata]
	if !isObject || !marked || len(o.names) > 1 {
		return checkValue(path, value, 0)
	}
	if content, isObject := meta.(map[string]any); !isObject || len(content) > 0 {
		return invalidValue(path, "a component's $metadata should be an empty object")
	}
	component := map[string]any{marker: markerComponent}
	for property, value := range properties {
		if property == metadata {
			continue
		}
		if !isName(property) {
			return invalidValue(path, fmt.Sprintf("the name %q is not allowed. %s", property, strings.TrimSuffix(namesText, ".")))
		}
		if err := checkValue(path, value, 0); err != nil {
			return err
		}
		component[property] = value
	}
	o.component, o.value = true, component
	return nil
}

// checkValue applies the rules for a property's value; depth is the number of
// objects that it is in.
func checkValue(path string, value any, depth int) error {
	switch value := value.(type) {
	case nil:
		return invalidValue(path, "null is not allowed; use a remove operation")
	case []any:
		return invalidValue(path, "arrays are not allowed")
	case map[string]any:
		if depth == maxDepth {
			return invalidValue(path, fmt.Sprintf("objects should be nested at most %d levels deep", maxDepth))
		}
		for field, below := range value {
			if !isName(field) {
				return invalidValue(path, fmt.Sprintf("the name %q is not allowed. %s", field, strings.TrimSuffix(namesText, ".")))
			}
			if err := checkValue(path, below, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
