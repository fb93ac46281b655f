package entra

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// role is a role definition of Azure: the data actions that it grants, as
// patterns in which * stands for anything.
type role struct {
	name    string
	actions []string
}

// builtin are IoT Hub's built-in roles by their definitions. Those of the
// Azure Resource Manager are there to be told apart from a misspelling: they
// grant no data action, as their holders find out.
var builtin = [...]role{
	{"IoT Hub Data Contributor", []string{"Microsoft.Devices/IotHubs/*"}},
	{"IoT Hub Data Reader", []string{"Microsoft.Devices/IotHubs/*/read", "Microsoft.Devices/IotHubs/fileUpload/notifications/action"}},
	{"IoT Hub Registry Contributor", []string{"Microsoft.Devices/IotHubs/devices/*"}},
	{"IoT Hub Twin Contributor", []string{"Microsoft.Devices/IotHubs/twins/*"}},
	{"Owner", nil},
	{"Contributor", nil},
	{"Reader", nil},
}

// dataActions is how the names of IoT Hub's data actions begin.
const dataActions = "Microsoft.Devices/IotHubs/"

// Roles are the role assignments of a hub.
type Roles struct {
	granted map[string][]Action // by the principal in lower case
}

// NewRoles reads role assignments: for each principal, named by its object id
// or application id, the names of built-in roles, or data actions as a custom
// role would have them.
func NewRoles(assigned map[string][]string) (Roles, error) {
	roles := Roles{granted: map[string][]Action{}}
	for principal, names := range assigned {
		if strings.TrimSpace(principal) == "" {
			return Roles{}, errors.New("a role should be assigned to the object id or application id of a principal, not to an empty one")
		}
		for _, name := range names {
			granted, err := definition(name)
			if err != nil {
				return Roles{}, fmt.Errorf("the role of principal %q: %w", principal, err)
			}
			key := strings.ToLower(principal)
			roles.granted[key] = append(roles.granted[key], granted...)
		}
	}
	return roles, nil
}

func definition(name string) ([]Action, error) {
	names := make([]string, 0, len(builtin))
	for _, known := range builtin {
		if strings.EqualFold(known.name, name) {
			return matching(known.actions...), nil
		}
		names = append(names, known.name)
	}
	if granted := matching(name); len(granted) > 0 {
		return granted, nil
	}
	return nil, fmt.Errorf("%q should be a built-in role (%s) or a data action of IoT Hub, such as %s or %stwins/*",
		name, strings.Join(names, ", "), TwinsRead, dataActions)
}

// matching returns the actions that match any of the patterns. Azure does not
// tell upper case from lower.
func matching(patterns ...string) []Action {
	var found []Action
	for _, pattern := range patterns {
		matches := regexp.MustCompile(`(?i)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
		for _, action := range actions {
			if matches.MatchString(string(action)) {
				found = append(found, action)
			}
		}
	}
	return found
}

// Grant reports whether the roles of a principal grant all of the actions. It
// may go by several ids.
func (r Roles) Grant(ids []string, needed ...Action) bool {
	var granted []Action
	for _, id := range ids {
		granted = append(granted, r.granted[strings.ToLower(id)]...)
	}
	for _, action := range needed {
		if !slices.Contains(granted, action) {
			return false
		}
	}
	return len(needed) > 0
}
