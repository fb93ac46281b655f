package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Kind is a kind of objects that commands take by name.
type Kind string

// The kinds, as the output names their objects.
const (
	TwinKind Kind = "devicetwin"
	HubKind  Kind = "hubconnection"
	SetKind  Kind = "devicetwinset"
)

// spellings are what may stand before the name of an object, in KIND/NAME.
func (k Kind) spellings() []string {
	singular, plural := string(k), string(k)+"s"
	all := []string{singular, plural, k.Resource(), plural + "." + v1alpha1.SchemeGroupVersion.Group}
	switch k {
	case TwinKind:
		return append(all, "twin", "twins")
	case HubKind:
		return append(all, "hub", "hubs")
	case SetKind:
		return append(all, "set", "sets", "twinset", "twinsets")
	}
	return all
}

// Resource is the kind as `-o name` has it.
func (k Kind) Resource() string { return string(k) + "." + v1alpha1.SchemeGroupVersion.Group }

// Named takes KIND/NAME apart, where the kind is this one.
func (k Kind) Named(text string) (name string, ok bool) {
	kind, name, qualified := strings.Cut(text, "/")
	return name, qualified && slices.Contains(k.spellings(), kind)
}

// SetNames are names of DeviceTwinSets, given as NAME or set/NAME.
func SetNames(given []string) ([]string, error) {
	names := make([]string, len(given))
	for i, text := range given {
		name, ok := SetKind.Named(text)
		if !ok {
			name = text
		}
		if name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%q: should be the name of a DeviceTwinSet, or set/NAME; another namespace is chosen with -n", text)
		}
		names[i] = name
	}
	return names, nil
}
