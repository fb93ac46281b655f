package hubemulator

// Fleet is what a hub has from its start. It may be given as Go values, or be
// read from a file with ReadFleet.
type Fleet struct {
	Devices []FleetDevice `json:"devices"`

	source string // the file it was read from
}

// FleetDevice is a device, or very many of a kind. What is left out is as for
// a device that is created without it.
type FleetDevice struct {
	// ID is the device's id.
	ID string `json:"id"`
	// Count makes a template of the device: as many devices are created, and
	// "{{n}}" in any text of it, names included, stands for the number of the
	// device, from 1 to Count. The ID of a template has to have it.
	Count int `json:"count,omitempty"`
	// Status is "enabled" or "disabled"; StatusReason is for people.
	Status       string `json:"status,omitempty"`
	StatusReason string `json:"statusReason,omitempty"`
	// Authentication is with fresh keys by default.
	Authentication *FleetAuthentication `json:"authentication,omitempty"`
	// IotEdge makes it an edge device, which others may have for a parent.
	IotEdge bool `json:"iotEdge,omitempty"`
	// Parent is the id of the edge device that this one reaches the hub
	// through. It may come later in the fleet.
	Parent string `json:"parent,omitempty"`
	// Tags, Desired and Reported are what the twin starts with. They are no
	// writes: the twin is etag 1, version 2, and each $version is 1.
	Tags     map[string]any `json:"tags,omitempty"`
	Desired  map[string]any `json:"desired,omitempty"`
	Reported map[string]any `json:"reported,omitempty"`
	Modules  []FleetModule  `json:"modules,omitempty"`
}

// FleetModule is a module of a device. Its fields are as those of a device.
type FleetModule struct {
	ID             string               `json:"id"`
	Authentication *FleetAuthentication `json:"authentication,omitempty"`
	ManagedBy      string               `json:"managedBy,omitempty"`
	Tags           map[string]any       `json:"tags,omitempty"`
	Desired        map[string]any       `json:"desired,omitempty"`
	Reported       map[string]any       `json:"reported,omitempty"`
}

// FleetAuthentication is how a device or module proves who it is.
type FleetAuthentication struct {
	// Type is "sas", "selfSigned" or "certificateAuthority". It may be left out
	// beside keys or thumbprints.
	Type           string           `json:"type,omitempty"`
	SymmetricKey   FleetKeys        `json:"symmetricKey,omitzero"`
	X509Thumbprint FleetThumbprints `json:"x509Thumbprint,omitzero"`
}

// FleetKeys are both base64 of 16 to 64 bytes.
type FleetKeys struct {
	PrimaryKey   string `json:"primaryKey,omitempty"`
	SecondaryKey string `json:"secondaryKey,omitempty"`
}

// FleetThumbprints are SHA-1 or SHA-256 of certificates, in hexadecimal
// digits. One is enough.
type FleetThumbprints struct {
	PrimaryThumbprint   string `json:"primaryThumbprint,omitempty"`
	SecondaryThumbprint string `json:"secondaryThumbprint,omitempty"`
}
