package lint

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// locate finds where a path of an error stands in a document: the key that it leads to, or the last one on the way that
// is there.
func locate(node *yaml.Node, path string) (line, column int) {
	line, column = node.Line, node.Column
	for {
		for node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
			node = node.Content[0]
			line, column = node.Line, node.Column
			continue
		}
		at, next, rest := step(node, strings.TrimPrefix(path, "."))
		if next == nil {
			return line, column
		}
		line, column = at.Line, at.Column
		node, path = next, rest
	}
}

// step goes one key or index along a path. Keys may have dots: the longest that fits is taken.
func step(node *yaml.Node, path string) (at, next *yaml.Node, rest string) {
	if path == "" {
		return nil, nil, ""
	}
	switch node.Kind {
	case yaml.MappingNode:
		longest := 0
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			for _, spelling := range []string{key.Value, "[" + key.Value + "]", "[" + strconv.Quote(key.Value) + "]"} {
				if after, found := strings.CutPrefix(path, spelling); found && len(spelling) > longest && ends(after) {
					longest, at, next, rest = len(spelling), key, node.Content[i+1], after
				}
			}
		}
	case yaml.SequenceNode:
		index, after, found := strings.Cut(strings.TrimPrefix(path, "["), "]")
		i, err := strconv.Atoi(index)
		if found && err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i], after
		}
	case yaml.ScalarNode, yaml.AliasNode, yaml.DocumentNode:
	}
	return at, next, rest
}

// ends tells that a key is over.
func ends(rest string) bool { return rest == "" || rest[0] == '.' || rest[0] == '[' }

// duplicates calls a function for each key that is in a mapping twice, with its path.
func duplicates(node *yaml.Node, path string, found func(key *yaml.Node, path string, first int)) {
	switch node.Kind {
	case yaml.DocumentNode:
		for _, child := range node.Content {
			duplicates(child, path, found)
		}
	case yaml.SequenceNode:
		for i, child := range node.Content {
			duplicates(child, fmt.Sprintf("%s[%d]", path, i), found)
		}
	case yaml.MappingNode:
		seen := map[string]int{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			below := strings.TrimPrefix(path+"."+key.Value, ".")
			if first, again := seen[key.Value]; again {
				found(key, below, first)
			} else {
				seen[key.Value] = key.Line
			}
			duplicates(node.Content[i+1], below, found)
		}
	case yaml.ScalarNode, yaml.AliasNode:
	}
}
