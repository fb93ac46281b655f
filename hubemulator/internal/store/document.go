package store

import "time"

// object is a JSON object whose fields are in the order that the hub writes
// them in. Sections, trees and times may be among the values, at any depth.
type object []field

type field struct {
	name  string
	value any
}

// values is the object as encoding/json would decode it, sections included.
func (o object) values() map[string]any {
	values := make(map[string]any, len(o))
	for _, m := range o {
		switch value := m.value.(type) {
		case object:
			values[m.name] = value.values()
		case section:
			values[m.name] = value.document()
		case time.Time:
			values[m.name] = formatTime(value)
		default:
			values[m.name] = plain(value)
		}
	}
	return values
}

// maxFields is how many fields a twin has at most.
const maxFields = 20

// document is the whole twin as the service API shows it.
func (x *Snapshot) document() object {
	i, t := &x.identity, &x.twin
	document := append(make(object, 0, maxFields), field{"deviceId", i.id.Device})
	if i.id.Module != "" {
		document = append(document, field{"moduleId", i.id.Module})
	}
	document = append(document,
		field{"etag", t.etag()},
		field{"deviceEtag", i.etag()},
		field{"status", i.status},
	)
	if i.id.Module == "" && i.statusReason != "" {
		document = append(document, field{"statusReason", i.statusReason})
	}
	document = append(document,
		field{"statusUpdateTime", i.statusUpdated},
		field{"connectionState", i.connectionState()},
		field{"lastActivityTime", i.lastActivity},
		field{"cloudToDeviceMessageCount", i.pendingCommands},
		field{"authenticationType", i.auth.Type},
		field{"x509Thumbprint", object{
			{"primaryThumbprint", i.auth.X509Thumbprint.Primary.value()},
			{"secondaryThumbprint", i.auth.X509Thumbprint.Secondary.value()},
		}},
		field{"modelId", i.modelID},
		field{"version", int64(t.writes) + t.reported.version}, //nolint:gosec // nobody writes 2^63 times
	)
	if !t.tags.empty() {
		document = append(document, field{"tags", t.tags})
	}
	document = append(document, field{"properties", object{{"desired", t.desired}, {"reported", t.reported}}})
	if len(t.configurations) > 0 {
		document = append(document, field{"configurations", t.configurationStatuses()})
	}
	if i.id.Module == "" {
		document = append(document, field{"capabilities", object{{"iotEdge", i.iotEdge}}})
		document = append(document, i.scopes.fields()...)
	}
	return document
}
