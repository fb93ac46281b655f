package store

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"

// Snapshot is a twin as it was at one moment. It is never changed, and never builds
// more of the document than it is asked for.
type Snapshot struct {
	identity identity
	twin     twin
}

// Document is the whole twin as the service API shows it. The caller may keep
// it but must not change it.
func (x *Snapshot) Document() map[string]any {
	return x.document().Values()
}

// Etag is the twin's etag, without quotes.
func (x *Snapshot) Etag() string { return x.twin.etag() }

// AppendJSON appends the whole document as JSON.
func (x *Snapshot) AppendJSON(text []byte) []byte {
	return x.document().AppendJSON(text)
}

// Property returns the value at a path of names from the top of the document,
// and whether there is one. The value must not be changed.
func (x *Snapshot) Property(path []string) (any, bool) {
	if len(path) == 0 {
		return x.Document(), true
	}
	switch path[0] {
	case "deviceId":
		return twindoc.Below(x.identity.id.Device, path[1:])
	case "etag":
		return twindoc.Below(x.twin.etag(), path[1:])
	case "status":
		return twindoc.Below(x.identity.status, path[1:])
	case "connectionState":
		return twindoc.Below(x.identity.connectionState(), path[1:])
	case "lastActivityTime":
		return twindoc.Below(twindoc.FormatTime(x.identity.lastActivity.time()), path[1:])
	case "tags":
		if x.twin.tags.Empty() {
			return nil, false
		}
		return twindoc.Below(x.twin.tags, path[1:])
	case "configurations":
		return x.twin.configurationProperty(path[1:])
	case "properties":
		if len(path) > 1 {
			return x.section(path[1], path[2:])
		}
	}
	return twindoc.Below(x.Document(), path)
}

func (x *Snapshot) section(name string, path []string) (any, bool) {
	switch name {
	case "desired":
		return x.twin.desired.Property(path)
	case "reported":
		return x.twin.reported.Property(path)
	}
	return nil, false
}
