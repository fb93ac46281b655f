package v1alpha1

// MirroredCredentials says what the mirror shows of values that look like credentials.
// +kubebuilder:validation:Enum=Hide;Show
type MirroredCredentials string

const (
	// CredentialsHidden puts a note in the place of such a value.
	CredentialsHidden MirroredCredentials = "Hide"
	// CredentialsShown mirrors them like all others.
	CredentialsShown MirroredCredentials = "Show"
)

// Mirror bounds the mirror of reported properties in the status.
type Mirror struct {
	// paths to mirror, keys joined by dots, which begin below reported:
	// telemetry.interval, not reported.telemetry.interval. Everything when left out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Paths []string `json:"paths,omitempty"`

	// maxBytes of JSON to mirror; what does not fit is left out key by key, and
	// status.reportedTruncated says so. 0 mirrors nothing.
	// +optional
	// +kubebuilder:default=4096
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32768
	MaxBytes *int32 `json:"maxBytes,omitempty"`

	// credentials is Hide or Show. Hide puts a note in the place of reported values
	// that look like a key, a token or a connection string, or whose key is named like
	// a credential, such as pwd, pin or AppSKey: all who may read this object read its
	// status.
	// +optional
	// +kubebuilder:default=Hide
	Credentials MirroredCredentials `json:"credentials,omitempty"`
}
