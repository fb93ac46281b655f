// Package digitaltwin shows device twins as digital twins, and turns what is
// asked of a digital twin into changes of the device twin, by the conventions
// of IoT Plug and Play.
package digitaltwin

import "strings"

// What the conventions put into the properties of a device twin.
const (
	marker          = "__t" // of an object that is a component
	markerComponent = "c"
	metadata        = "$metadata"
)

// View is the digital twin to a device twin, given as the service API shows it.
// The twin is not changed, and the view shares its values.
func View(twin map[string]any) map[string]any {
	desired, reported := section(twin, "desired"), section(twin, "reported")
	root := level{desired.values, reported.values, desired.meta, reported.meta}
	view, meta := root.properties()
	for name := range root.names() {
		if root.isComponent(name) {
			properties, meta := root.component(name).properties()
			properties[metadata] = meta
			view[name] = properties
		}
	}
	meta["$model"] = twin["modelId"]
	view["$dtId"], view[metadata] = twin["deviceId"], meta
	return view
}

// part is one section of a twin: its properties, and their metadata.
type part struct{ values, meta map[string]any }

func section(twin map[string]any, name string) part {
	values := object(object(twin, "properties"), name)
	return part{values, object(values, metadata)}
}

// object returns an object's object of that name, or nil.
func object(in map[string]any, name string) map[string]any {
	below, _ := in[name].(map[string]any)
	return below
}

// level is what a twin holds of the properties of one component, or of those
// outside of components.
type level struct{ desired, reported, desiredMeta, reportedMeta map[string]any }

func (l level) names() map[string]bool {
	names := map[string]bool{}
	for _, values := range []map[string]any{l.desired, l.reported} {
		for name := range values {
			if name != marker && !strings.HasPrefix(name, "$") {
				names[name] = true
			}
		}
	}
	return names
}

func (l level) isComponent(name string) bool {
	return isComponent(l.desired[name]) || isComponent(l.reported[name])
}

func isComponent(value any) bool {
	properties, _ := value.(map[string]any)
	return properties[marker] == markerComponent
}

// component is the level below.
func (l level) component(name string) level {
	return level{
		object(l.desired, name), object(l.reported, name),
		object(l.desiredMeta, name), object(l.reportedMeta, name),
	}
}

// properties returns the values that the device reports, and what there is to
// know about each property.
func (l level) properties() (values, meta map[string]any) {
	values, meta = map[string]any{}, map[string]any{}
	for name := range l.names() {
		if l.isComponent(name) {
			continue
		}
		about := map[string]any{}
		if value, wanted := l.desired[name]; wanted {
			about["desiredValue"] = value
			about["desiredVersion"] = object(l.desiredMeta, name)["$lastUpdatedVersion"]
		}
		if value, known := l.reported[name]; known {
			values[name] = acknowledged(value, about)
			about["lastUpdateTime"] = object(l.reportedMeta, name)["$lastUpdated"]
		}
		meta[name] = about
	}
	return values, meta
}

// acknowledged takes apart how a device reports a writable property: its value
// with the code, version and description of what it made of the desired one.
// Any other value is the property's own.
func acknowledged(reported any, about map[string]any) any {
	parts, isObject := reported.(map[string]any)
	value, hasValue := parts["value"]
	code, hasCode := parts["ac"]
	if !isObject || !hasValue || !hasCode {
		return reported
	}
	about["ackCode"] = code
	if version, given := parts["av"]; given {
		about["ackVersion"] = version
	}
	if description, given := parts["ad"]; given {
		about["ackDescription"] = description
	}
	return value
}
