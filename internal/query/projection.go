package query

import (
	"fmt"
	"slices"
	"strconv"
)

// Projection is a list of properties to select of each twin.
type Projection struct{ paths []path }

// ProjectionError says which of several paths cannot be selected, and why.
type ProjectionError struct {
	// Index of the path.
	Index int
	// Problem says what is wrong with it.
	Problem string
}

// Error implements error.
func (e *ProjectionError) Error() string { return e.Problem }

// ParseProjection reads the paths of properties, each as it stands in a query. One that
// leads to a property which another one selects already is an error. Its errors are of
// type *ProjectionError.
func ParseProjection(texts []string) (*Projection, error) {
	read := &Projection{}
	for i, text := range texts {
		next, err := parsePath(text)
		if err != nil {
			return nil, &ProjectionError{Index: i, Problem: err.Error()}
		}
		for before, other := range read.paths {
			if shorter := min(len(next.names), len(other.names)); slices.Equal(next.names[:shorter], other.names[:shorter]) {
				return nil, &ProjectionError{Index: i, Problem: fmt.Sprintf("selects some of what %s selects, or all of it: leave one of them out", texts[before])}
			}
		}
		read.paths = append(read.paths, next)
	}
	return read, nil
}

func parsePath(text string) (path, error) {
	p, err := newParser(text, Dialect{})
	if err != nil {
		return path{}, err
	}
	read, err := p.path()
	if err != nil {
		return path{}, err
	}
	return read, p.expectEnd("a dot or the end of the path")
}

// Whole tells whether nothing is listed, which stands for whole twins.
func (p *Projection) Whole() bool { return len(p.paths) == 0 }

// Names tells whether a path holds a name, at any place of it.
func (p *Projection) Names(name string) bool {
	return slices.ContainsFunc(p.paths, func(selected path) bool { return slices.Contains(selected.names, name) })
}

// Columns are the properties as they stand behind SELECT, each under a name that Place
// knows it by.
func (p *Projection) Columns() string {
	var out printer
	for i, selected := range p.paths {
		out.separate(i)
		selected.write(&out)
		out.WriteString(" AS " + columnName(i))
	}
	return out.String()
}

// Place returns the columns of a row as they stand in a twin.
func (p *Projection) Place(row map[string]any) map[string]any {
	twin := map[string]any{}
	for i, selected := range p.paths {
		value, found := row[columnName(i)]
		if !found {
			continue
		}
		into, last := twin, len(selected.names)-1
		for _, name := range selected.names[:last] {
			below, isObject := into[name].(map[string]any)
			if !isObject {
				below = map[string]any{}
				into[name] = below
			}
			into = below
		}
		into[selected.names[last]] = value
	}
	return twin
}

// At is what a twin has at the first of the paths.
func (p *Projection) At(twin map[string]any) (value any, found bool) {
	if p.Whole() {
		return twin, true
	}
	return Object(twin).Property(p.paths[0].names)
}

func columnName(position int) string { return "column" + strconv.Itoa(position+1) }
