package hubemulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// ReadFleet reads a fleet from a file of YAML or JSON. Fields that do not exist
// are errors, and so are those that are there twice. Whether the hub takes the
// devices shows when it starts.
func ReadFleet(path string) (*Fleet, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the fleet cannot be read: %w", err)
	}
	fleet, err := parseFleet(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	fleet.source = path
	return fleet, nil
}

func parseFleet(text []byte) (*Fleet, error) {
	object, err := onlyDocument(text)
	if err != nil {
		return nil, err
	}
	var file struct {
		Devices []json.RawMessage `json:"devices"`
	}
	if object != nil {
		if err := strictly(object, &file); err != nil {
			return nil, err
		}
	}
	if len(file.Devices) == 0 {
		return nil, errors.New(`there is no device in it; it should be a list called "devices"`)
	}
	fleet := &Fleet{Devices: make([]FleetDevice, len(file.Devices))}
	for i, one := range file.Devices {
		if err := strictly(one, &fleet.Devices[i]); err != nil {
			return nil, fmt.Errorf("device %s: %w", nameOf(one, i), err)
		}
	}
	return fleet, nil
}

// onlyDocument returns a file's YAML document as JSON. It refuses files of
// several, of which the others would be dropped without a word, and fields that
// are there twice.
func onlyDocument(text []byte) ([]byte, error) {
	var only []byte
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return only, nil
		}
		if err != nil {
			return nil, err
		}
		object, err := yaml.YAMLToJSONStrict(document)
		switch {
		case err != nil:
			return nil, err
		case string(object) == "null": // comments only
		case only != nil:
			return nil, errors.New("it should be one YAML document, not several")
		default:
			only = object
		}
	}
}

// strictly decodes JSON, with regard to upper and lower case and to unknown
// fields.
func strictly(text []byte, into any) error {
	unknown, err := kjson.UnmarshalStrict(text, into)
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		return fmt.Errorf("%s: it should not be a JSON %s", wrong.Field, wrong.Value)
	}
	return errors.Join(append(unknown, err)...)
}

// nameOf says which device of a file it is.
func nameOf(text []byte, index int) string {
	var named struct {
		ID any `json:"id"`
	}
	if err := json.Unmarshal(text, &named); err != nil || named.ID == nil {
		return fmt.Sprintf("number %d", index+1)
	}
	return fmt.Sprintf("%q", fmt.Sprint(named.ID))
}
