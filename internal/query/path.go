package query

import (
	"slices"
	"strings"
)

// source is what a query ranges over. The zero value is a condition's: it has
// device twins or module twins to choose from.
type source string

const (
	sourceDevices source = "devices"
	sourceModules source = "devices.modules"
	sourceJobs    source = "devices.jobs"
)

// topLevelFields are the members of a twin that are found in any case, in the
// spelling they have in a twin.
var topLevelFields = [...]string{
	"deviceId", "moduleId", "etag", "deviceEtag", "status", "statusReason", "statusUpdateTime",
	"connectionState", "lastActivityTime", "cloudToDeviceMessageCount", "authenticationType",
	"x509Thumbprint", "modelId", "version", "tags", "properties", "capabilities", "deviceScope",
	"parentScopes", "configurations",
}

// jobFields are the members of a row of devices.jobs, which are found in any
// case like those of a twin.
var jobFields = [...]string{
	"deviceId", "jobId", "jobType", "status", "startTimeUtc", "endTimeUtc", "createdDateTimeUtc",
	"lastUpdatedDateTimeUtc", "outcome", "error",
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
	names = p.source.without(names)
	names[0] = p.source.field(names[0])
	return path{names}, nil
}

// without drops the collection that a path may start with. A path never
// becomes empty by that.
func (s source) without(names []string) []string {
	collection := "modules"
	if s == sourceJobs {
		collection = "jobs"
	}
	switch {
	case len(names) > 2 && startsWithSource(names) && strings.EqualFold(names[1], collection):
		return names[2:]
	case len(names) > 1 && startsWithSource(names):
		return names[1:]
	}
	return names
}

func startsWithSource(names []string) bool { return strings.EqualFold(names[0], string(sourceDevices)) }

// field returns the name at the top of a document in the document's spelling.
func (s source) field(name string) string {
	fields := topLevelFields[:]
	if s == sourceJobs {
		fields = jobFields[:]
	}
	for _, field := range fields {
		if strings.EqualFold(field, name) {
			return field
		}
	}
	return name
}

func (p path) equal(other path) bool { return slices.Equal(p.names, other.names) }
