package hubemulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// placeholder is where a template has the number of the device.
var placeholder = regexp.MustCompile(`\{\{ *n *\}\}`)

// fleetTemplate is a device and its modules, before they have a number.
type fleetTemplate struct {
	imports []store.Import
	single  bool // whether it is no template at all
}

func newTemplate(d FleetDevice) (fleetTemplate, error) {
	switch isTemplate := placeholder.MatchString(d.ID); {
	case d.Count < 0:
		return fleetTemplate{}, errors.New("count: it should be 1 or more")
	case d.Count > 0 && !isTemplate:
		return fleetTemplate{}, errors.New("id: it should have {{n}} in it, since there is a count")
	case d.Count == 0 && isTemplate:
		return fleetTemplate{}, errors.New("count: it should be there, since the id has {{n}} in it")
	}
	device, err := newImport(store.ID{Device: d.ID}, identityDocument{
		Status: d.Status, StatusReason: d.StatusReason, Authentication: d.Authentication,
		Capabilities: capabilities{IotEdge: d.IotEdge},
	}, d.Tags, d.Desired, d.Reported)
	if err != nil {
		return fleetTemplate{}, err
	}
	device.Parent = d.Parent
	t := fleetTemplate{imports: []store.Import{device}, single: d.Count == 0}
	for _, m := range d.Modules {
		if m.ID == "" {
			return fleetTemplate{}, errors.New("modules: each should have an id")
		}
		if strings.HasPrefix(m.ID, "$") {
			return fleetTemplate{}, fmt.Errorf("module %q: id: it should not start with '$': such modules are the hub's own", m.ID)
		}
		module, err := newImport(store.ID{Device: d.ID, Module: m.ID},
			identityDocument{Authentication: m.Authentication, ManagedBy: m.ManagedBy}, m.Tags, m.Desired, m.Reported)
		if err != nil {
			return fleetTemplate{}, fmt.Errorf("module %q: %w", m.ID, err)
		}
		t.imports = append(t.imports, module)
	}
	return t, nil
}

// identityDocument is an identity as the service API takes it.
type identityDocument struct {
	Status         string               `json:"status,omitempty"`
	StatusReason   string               `json:"statusReason,omitempty"`
	Authentication *FleetAuthentication `json:"authentication,omitempty"`
	Capabilities   capabilities         `json:"capabilities,omitzero"`
	ManagedBy      string               `json:"managedBy,omitempty"`
}

type capabilities struct {
	IotEdge bool `json:"iotEdge"`
}

func newImport(id store.ID, identity identityDocument, tags, desired, reported map[string]any) (store.Import, error) {
	if err := identity.Authentication.check(); err != nil {
		return store.Import{}, err
	}
	made := store.Import{ID: id}
	var err error
	if made.Identity, err = json.Marshal(identity); err != nil {
		return store.Import{}, err
	}
	for _, section := range []struct {
		name    string
		content map[string]any
		into    *[]byte
	}{{"tags", tags, &made.Tags}, {"desired", desired, &made.Desired}, {"reported", reported, &made.Reported}} {
		if section.content == nil {
			continue
		}
		if *section.into, err = json.Marshal(section.content); err != nil {
			return store.Import{}, fmt.Errorf("%s: %w", section.name, err)
		}
	}
	return made, nil
}

// check refuses what IoT Hub would drop without a word.
func (a *FleetAuthentication) check() error {
	const keys, thumbprints = "sas", "selfSigned"
	switch {
	case a == nil:
		return nil
	case a.SymmetricKey != FleetKeys{} && a.X509Thumbprint != FleetThumbprints{}:
		return errors.New("authentication: it should have a symmetricKey or an x509Thumbprint, not both")
	case a.SymmetricKey != FleetKeys{} && a.Type != "" && a.Type != keys:
		return fmt.Errorf("authentication.symmetricKey: it is for the type %q only", keys)
	case a.X509Thumbprint != FleetThumbprints{} && a.Type != "" && a.Type != thumbprints:
		return fmt.Errorf("authentication.x509Thumbprint: it is for the type %q only", thumbprints)
	}
	return nil
}

// numbered puts the number into every text.
func (t fleetTemplate) numbered(n int) []store.Import {
	if t.single {
		return t.imports
	}
	number := strconv.Itoa(n)
	text := func(s string) string { return placeholder.ReplaceAllLiteralString(s, number) }
	document := func(d []byte) []byte {
		if d == nil {
			return nil
		}
		return placeholder.ReplaceAllLiteral(d, []byte(number))
	}
	out := make([]store.Import, len(t.imports))
	for i, one := range t.imports {
		out[i] = store.Import{
			ID: store.ID{Device: text(one.ID.Device), Module: text(one.ID.Module)}, Parent: text(one.Parent),
			Identity: document(one.Identity), Tags: document(one.Tags),
			Desired: document(one.Desired), Reported: document(one.Reported),
		}
	}
	return out
}
