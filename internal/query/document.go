package query

// Document is a twin that queries are evaluated on.
type Document interface {
	// Property returns the value at a path, given as its names from the top,
	// and whether there is one.
	Property(path []string) (value any, defined bool)
}

// Object is a twin as encoding/json decodes it.
type Object map[string]any

// Property implements Document.
func (o Object) Property(path []string) (any, bool) {
	var value any = map[string]any(o)
	for _, name := range path {
		object, isObject := value.(map[string]any)
		if !isObject {
			return nil, false
		}
		below, present := object[name]
		if !present {
			return nil, false
		}
		value = below
	}
	return value, true
}
