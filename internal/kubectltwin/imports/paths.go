package imports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// everything stands for a whole section.
const everything = "*"

// parts are what of a section is declared.
type parts struct {
	flag string
	// above are the names that lead to the section in a twin.
	above []string
	// texts are the paths below it as the user gives them.
	texts []string
}

// keys are the paths as keys; one of no key is the whole section.
func (p parts) keys() ([][]string, error) {
	if slices.Contains(p.texts, everything) {
		return [][]string{nil}, nil
	}
	var all [][]string
	for _, text := range p.texts {
		keys, err := twin.ParseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("--%s %q: %w", p.flag, text, err)
		}
		all = append(all, keys)
	}
	return all, nil
}

// names tells whether a path begins with a key.
func (p parts) names(key string) bool {
	return slices.ContainsFunc(p.texts, func(text string) bool {
		first, _, _ := strings.Cut(text, ".")
		return first == key
	})
}

// columns are the paths as a query has them.
func (p parts) columns() ([]string, error) {
	all, err := p.keys()
	if err != nil {
		return nil, err
	}
	var columns []string
	for _, keys := range all {
		columns = append(columns, query.PathText(append(slices.Clone(p.above), keys...)...))
	}
	return columns, nil
}

// of is what a row has of the section, without what the hub keeps there itself; nil for nothing.
func (p parts) of(row map[string]any) map[string]any {
	value, _ := query.Object(row).Property(p.above)
	section, _ := value.(map[string]any)
	for key := range section {
		if strings.HasPrefix(key, "$") {
			delete(section, key)
		}
	}
	if len(section) == 0 {
		return nil
	}
	return section
}
