package devicesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// connectivityProperty is reported by the device about itself, so it is never
// acknowledged from the desired section.
const connectivityProperty = "connectivity"

const versionKey = "$version"

// section is one half of a twin as the device sees it: its properties, without
// the $version, which must never be sent back.
type section struct {
	version    int64
	properties map[string]any
}

// twinState is what the device knows of its twin. It outlives a connection, so
// that a reconnect shows and reports only what changed meanwhile.
type twinState struct {
	desired  section
	reported section
	// acknowledged is the desired section as last repeated in a report: what is
	// in it but desired no longer has to be taken back.
	acknowledged map[string]any
}

// change is one top-level desired property that changed; Value is nil when it
// was removed.
type change struct {
	property string
	value    json.RawMessage
}

// parseTwin reads the document the hub answers to a device's twin GET.
func parseTwin(document []byte) (desired, reported section, err error) {
	var doc struct {
		Desired  json.RawMessage `json:"desired"`
		Reported json.RawMessage `json:"reported"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return section{}, section{}, fmt.Errorf("twin document: %w", err)
	}
	if desired, err = parseSection(doc.Desired); err != nil {
		return section{}, section{}, fmt.Errorf("twin document: desired: %w", err)
	}
	if reported, err = parseSection(doc.Reported); err != nil {
		return section{}, section{}, fmt.Errorf("twin document: reported: %w", err)
	}
	return desired, reported, nil
}

// parseSection splits a section, or an update of one, from its $version.
func parseSection(raw []byte) (section, error) {
	var head struct {
		Version *int64 `json:"$version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return section{}, err
	}
	if head.Version == nil {
		return section{}, fmt.Errorf("%s is missing", versionKey)
	}
	s := section{version: *head.Version}
	if err := json.Unmarshal(raw, &s.properties); err != nil {
		return section{}, err
	}
	maps.DeleteFunc(s.properties, func(key string, _ any) bool { return strings.HasPrefix(key, "$") })
	return s, nil
}

// setDesired takes over a newer desired section and says what changed in it.
func (t *twinState) setDesired(next section) ([]change, error) {
	changes, err := topLevelChanges(t.desired.properties, next.properties)
	if err != nil {
		return nil, err
	}
	t.desired = next
	return changes, nil
}

// updatedDesired is the desired section after a patch from the hub.
func (t *twinState) updatedDesired(patch section) (section, error) {
	properties, err := merge(t.desired.properties, patch.properties, jsonpatch.MergePatch)
	if err != nil {
		return section{}, err
	}
	return section{version: patch.version, properties: properties}, nil
}

// acknowledgement is the smallest report that makes the reported section repeat
// the desired one: only differing leaves, null for what is desired no longer.
// It is empty when there is nothing to report.
func (t *twinState) acknowledgement() (map[string]any, error) {
	desired := withoutConnectivity(t.desired.properties)
	removals, err := diff(withoutConnectivity(t.acknowledged), desired)
	if err != nil {
		return nil, err
	}
	want, err := merge(t.reported.properties, removals, jsonpatch.MergePatch)
	if err != nil {
		return nil, err
	}
	if want, err = merge(want, desired, jsonpatch.MergePatch); err != nil {
		return nil, err
	}
	return diff(t.reported.properties, want)
}

// setAcknowledged notes that the reported section now repeats the desired one.
func (t *twinState) setAcknowledged() { t.acknowledged = t.desired.properties }

// setReported notes a report that the hub accepted.
func (t *twinState) setReported(patch map[string]any, version int64) error {
	properties, err := merge(t.reported.properties, patch, jsonpatch.MergePatch)
	if err != nil {
		return err
	}
	t.reported = section{version: version, properties: properties}
	return nil
}

func withoutConnectivity(properties map[string]any) map[string]any {
	kept := maps.Clone(properties)
	delete(kept, connectivityProperty)
	return kept
}

func topLevelChanges(before, after map[string]any) ([]change, error) {
	names := make(map[string]struct{}, len(before)+len(after))
	for name := range before {
		names[name] = struct{}{}
	}
	for name := range after {
		names[name] = struct{}{}
	}
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, had := before[name]
		value, has := after[name]
		switch {
		case had && has && reflect.DeepEqual(old, value):
		case has:
			raw, err := compact(value)
			if err != nil {
				return nil, err
			}
			changes = append(changes, change{property: name, value: raw})
		default:
			changes = append(changes, change{property: name})
		}
	}
	return changes, nil
}

// diff is the JSON merge patch that turns one object into the other.
func diff(before, after map[string]any) (map[string]any, error) {
	return merge(before, after, jsonpatch.CreateMergePatch)
}

func merge(a, b map[string]any, with func(a, b []byte) ([]byte, error)) (map[string]any, error) {
	rawA, err := compact(nonNil(a))
	if err != nil {
		return nil, err
	}
	rawB, err := compact(nonNil(b))
	if err != nil {
		return nil, err
	}
	raw, err := with(rawA, rawB)
	if err != nil {
		return nil, err
	}
	var merged map[string]any
	if err := json.Unmarshal(raw, &merged); err != nil {
		return nil, err
	}
	return merged, nil
}

func nonNil(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// compact is JSON on one line as a user would write it, with < and & as such.
func compact(value any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
