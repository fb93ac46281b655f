package store

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"

// maxFields is how many fields a twin has at most.
const maxFields = 20

// document is the whole twin as the service API shows it.
func (x *Snapshot) document() twindoc.Object {
	i, t := &x.identity, &x.twin
	document := make(twindoc.Object, 0, maxFields).With("deviceId", i.id.Device)
	if i.id.Module != "" {
		document = document.With("moduleId", i.id.Module)
	}
	document = document.
		With("etag", t.etag()).
		With("deviceEtag", i.etag()).
		With("status", i.status)
	if i.id.Module == "" && i.statusReason != "" {
		document = document.With("statusReason", i.statusReason)
	}
	document = document.
		With("statusUpdateTime", i.statusUpdated.time()).
		With("connectionState", i.connectionState()).
		With("lastActivityTime", i.lastActivity.time()).
		With("cloudToDeviceMessageCount", i.pendingCommands).
		With("authenticationType", i.auth.Type).
		With("x509Thumbprint", make(twindoc.Object, 0, 2).
			With("primaryThumbprint", i.auth.X509Thumbprint.Primary.value()).
			With("secondaryThumbprint", i.auth.X509Thumbprint.Secondary.value())).
		With("modelId", i.modelID).
		With("version", int64(t.writes)+t.reported.Version()) //nolint:gosec // no twin is written 2^63 times
	if !t.tags.Empty() {
		document = document.With("tags", t.tags)
	}
	document = document.With("properties", make(twindoc.Object, 0, 2).With("desired", t.desired).With("reported", t.reported))
	if len(t.configurations) > 0 {
		document = document.With("configurations", t.configurationStatuses())
	}
	if i.id.Module == "" {
		document = document.With("capabilities", twindoc.Object{}.With("iotEdge", i.iotEdge))
		document = append(document, i.scopes.fields()...)
	}
	return document
}
