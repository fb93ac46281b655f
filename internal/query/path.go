package query

import (
	"slices"
	"strings"
)

const (
	sourceDevices = "devices"
	sourceModules = "devices.modules"
)

// topLevelFields are the members of a twin that are found in any case, in the
// spelling they have in a twin.
var topLevelFields = [...]string{
	"deviceId", "moduleId", "etag", "deviceEtag", "status", "statusReason", "statusUpdateTime",
	"connectionState", "lastActivityTime", "cloudToDeviceMessageCount", "authenticationType",
	"x509Thumbprint", "modelId", "version", "tags", "properties", "capabilities", "deviceScope",
	"parentScopes", "configurations",
}

// reserved are the words of the language; a property of such a name needs [[ ]].
var reserved = [...]string{
	"SELECT", "FROM", "WHERE", "GROUP", "BY", "AND", "OR", "NOT", "IN", "NIN", "AS", "TOP",
	"true", "false", "null", "undefined",
}

func isReserved(name string) bool {
	for _, word := range reserved {
		if strings.EqualFold(word, name) {
			return true
		}
	}
	return false
}

// path reads a property's path, canonical at its first name and without the
// collection's name in front.
func (p *parser) path() (path, error) {
	var names []string
	for {
		name := p.peek()
		if name.kind != tokenName && name.kind != tokenQuotedName {
			return path{}, p.unexpected("the name of a property")
		}
		if name.kind == tokenName && isReserved(name.text) {
			return path{}, errorAt(p.text, name.offset, "expected the name of a property, found %q; a property of that name is written [[%s]]", name.text, name.text)
		}
		p.advance()
		names = append(names, name.text)
		if !p.acceptSymbol(".") {
			break
		}
	}
	names = withoutSource(names)
	names[0] = canonicalField(names[0])
	return path{names}, nil
}

// withoutSource drops the collection that a path may start with. A path never
// becomes empty by that.
func withoutSource(names []string) []string {
	switch {
	case len(names) > 2 && strings.EqualFold(names[0], "devices") && strings.EqualFold(names[1], "modules"):
		return names[2:]
	case len(names) > 1 && strings.EqualFold(names[0], "devices"):
		return names[1:]
	}
	return names
}

func canonicalField(name string) string {
	for _, field := range topLevelFields {
		if strings.EqualFold(field, name) {
			return field
		}
	}
	return name
}

func (p path) equal(other path) bool { return slices.Equal(p.names, other.names) }
