package outcome

import "github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"

// Effects are what a reason means beyond its conditions. They stand in one table, so that
// no reconciler branches on the reasons that users read.
type Effects struct {
	// NoClaim: the object may not keep its twin.
	NoClaim bool
	// KeptElsewhere: another object keeps the twin.
	KeptElsewhere bool
	// KeepsClaim: the hub exists, so that the object keeps the twin that it had.
	KeepsClaim bool
	// DeviceGone: the hub has no such device any more.
	DeviceGone bool
	// EndsCleanup: the hub will not become ours to clean up; a deletion waits no longer.
	EndsCleanup bool
	// AnswerVoid: what a hub answered to the query before means nothing any more.
	AnswerVoid bool
	// HubGone: there is no hub to ask.
	HubGone bool
	// CredentialRefused: the hub does not take the credential, or cannot be trusted with it.
	CredentialRefused bool
	// EndsSession: the hub may not be used, although it takes the credential.
	EndsSession bool
	// HostUnknown: the host's name does not resolve.
	HostUnknown bool
	// SecretForbidden: the manager may not create the object's Secret; all else may go on.
	SecretForbidden bool
	// Contended: another writer changes the same fields; it must not crowd out others.
	Contended bool
}

// effects are those of each reason that has any.
var effects = map[string]Effects{
	v1alpha1.ReasonDeviceClaimed:        {NoClaim: true, KeptElsewhere: true},
	v1alpha1.ReasonHubNotAllowed:        {NoClaim: true, EndsCleanup: true, AnswerVoid: true},
	v1alpha1.ReasonDeviceNotAllowed:     {NoClaim: true, EndsCleanup: true, AnswerVoid: true},
	v1alpha1.ReasonHubNotReady:          {KeepsClaim: true},
	v1alpha1.ReasonHubNotFound:          {EndsCleanup: true, HubGone: true},
	v1alpha1.ReasonOwnedElsewhere:       {EndsCleanup: true},
	v1alpha1.ReasonSuspended:            {EndsCleanup: true},
	v1alpha1.ReasonDeviceNotFound:       {DeviceGone: true},
	v1alpha1.ReasonDeviceDeleted:        {DeviceGone: true},
	v1alpha1.ReasonInvalidQuery:         {AnswerVoid: true},
	v1alpha1.ReasonQueryRefused:         {AnswerVoid: true},
	v1alpha1.ReasonUnauthorized:         {CredentialRefused: true},
	v1alpha1.ReasonForbidden:            {CredentialRefused: true},
	v1alpha1.ReasonUntrustedCertificate: {CredentialRefused: true},
	v1alpha1.ReasonHostInTwoShards:      {EndsSession: true},
	v1alpha1.ReasonUnknownHost:          {HostUnknown: true},
	v1alpha1.ReasonSecretNotAllowed:     {SecretForbidden: true},
	v1alpha1.ReasonContended:            {Contended: true},
}

// Effects are what the outcome's reason means beyond its conditions.
func (o Outcome) Effects() Effects { return effects[o.Reason] }
