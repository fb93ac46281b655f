package v1alpha1

// Condition types. They follow kstatus: Ready is always present; Reconciling
// and Stalled are present only while true, and never both.
const (
	// ConditionReady is True when the object does what it declares: a
	// HubConnection was probed with success, a DeviceTwin is on the hub as
	// declared, a TwinQuery was answered. A device that is offline does not make
	// its DeviceTwin unready.
	ConditionReady = "Ready"

	// ConditionReconciling is True while the controller works towards Ready or
	// waits for something that is expected to change without the user: a hub
	// that does not answer, an object that does not exist yet. Absent otherwise.
	ConditionReconciling = "Reconciling"

	// ConditionStalled is True when the user must change something: the
	// declaration, the credential, the hub. The controller still tries again
	// at a slow pace, and at once when the object or what it refers to changes.
	// Absent otherwise.
	ConditionStalled = "Stalled"

	// ConditionSynced is True on a DeviceTwin when the hub holds every declared
	// leaf, False when it is known not to, Unknown when the hub could not be
	// asked.
	ConditionSynced = "Synced"

	// ConditionDrifted is True on a DeviceTwin while the hub holds other values
	// than declared and they are left there: by policy, or for now. Absent
	// otherwise.
	ConditionDrifted = "Drifted"

	// ConditionContended is True on a DeviceTwin while another writer keeps
	// changing what is declared: three times within an hour. The leaves are
	// restored ever more slowly. Absent otherwise.
	ConditionContended = "Contended"

	// ConditionAcknowledged tells on a DeviceTwin whether the device has taken
	// over the declared desired properties: reported them back with equal values,
	// or acknowledged them by IoT Plug and Play's conventions. Unknown until it
	// has reported any of them; absent when none is declared.
	ConditionAcknowledged = "Acknowledged"

	// ConditionRecordLost is True on a DeviceTwin whose record of what it wrote is
	// gone, until the next edit: another client has wiped its status. Absent
	// otherwise.
	ConditionRecordLost = "RecordLost"

	// ConditionPaused is True on a HubConnection while spec.guard keeps twins from
	// being changed. Absent otherwise.
	ConditionPaused = "Paused"

	// ConditionQuotaPressure is True on a HubConnection while the operator's share
	// of the hub's daily message quota does not last until 00:00 UTC at the pace
	// that is declared. The hub is read back less often for it; no write is held
	// back. Absent otherwise.
	ConditionQuotaPressure = "QuotaPressure"

	// ConditionReadBackLate is True on a HubConnection while its hub was not read
	// back for three of its effective intervals, whatever keeps it: what happens to
	// twins there goes unnoticed meanwhile. Absent otherwise.
	ConditionReadBackLate = "ReadBackLate"

	// ConditionMembershipsLate is True on a TwinQuery with an answer too large to list
	// while, for three of its intervals, the hub did not tell which DeviceTwins are
	// members. Absent otherwise.
	ConditionMembershipsLate = "MembershipsLate"
)

// Reasons of every kind.
const (
	// ReasonSucceeded: all is as declared.
	ReasonSucceeded = "Succeeded"
	// ReasonSuspended: spec.suspend is true; the hub is neither read nor written.
	ReasonSuspended = "Suspended"
)

// Reasons that speak of a HubConnection's own declaration and credential.
const (
	// ReasonSecretNotFound: the Secret of spec.auth, or the key in it, does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonMalformedConnectionString: the connection string in the Secret cannot be used.
	ReasonMalformedConnectionString = "MalformedConnectionString"
	// ReasonHostNotAllowed: the host named in the connection string is not under
	// the manager's --allowed-host-suffixes; no token was made for it.
	ReasonHostNotAllowed = "HostNotAllowed"
	// ReasonInvalidHostName: spec.hostName is not a plain host name.
	ReasonInvalidHostName = "InvalidHostName"
	// ReasonInvalidCABundle: spec.caBundle is not a list of PEM certificates.
	ReasonInvalidCABundle = "InvalidCABundle"
	// ReasonHostInTwoShards: an older HubConnection of the same hub is of another shard,
	// which another manager keeps.
	ReasonHostInTwoShards = "HostInTwoShards"
	// ReasonInvalidSelector: spec.allowedNamespaces.selector can select nothing;
	// the message names the part that is wrong.
	ReasonInvalidSelector = "InvalidSelector"
)

// Reasons that speak of the way to the hub and of its answers.
const (
	// ReasonUnauthorized: the hub refused the credential (HTTP 401).
	ReasonUnauthorized = "Unauthorized"
	// ReasonForbidden: the hub refused the operation (HTTP 403).
	ReasonForbidden = "Forbidden"
	// ReasonUnknownHost: the hub's host name does not resolve.
	ReasonUnknownHost = "UnknownHost"
	// ReasonUntrustedCertificate: the hub's certificate is not trusted by the
	// system's roots or spec.caBundle.
	ReasonUntrustedCertificate = "UntrustedCertificate"
	// ReasonThrottled: the hub asked to slow down (HTTP 429).
	ReasonThrottled = "Throttled"
	// ReasonQuotaExceeded: the hub's daily message quota is used up (until 00:00 UTC).
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonHubUnreachable: no answer from the hub; tried again with back-off.
	ReasonHubUnreachable = "HubUnreachable"
	// ReasonHubError: the hub answered with an error of its own (HTTP 5xx) or
	// with something that is no answer; tried again with back-off.
	ReasonHubError = "HubError"
)

// Reasons of objects that refer to a HubConnection.
const (
	// ReasonHubNotFound: the HubConnection does not exist in the object's own namespace.
	ReasonHubNotFound = "HubNotFound"
	// ReasonHubNotAllowed: the HubConnection of another namespace does not exist
	// or does not admit this namespace; which of the two is not disclosed.
	ReasonHubNotAllowed = "HubNotAllowed"
	// ReasonDeviceNotAllowed: the HubConnection's spec.deviceScopes do not let this
	// namespace use the device, or any.
	ReasonDeviceNotAllowed = "DeviceNotAllowed"
	// ReasonHubOutsideShard: the HubConnection is there, and another manager keeps it:
	// its labels are not those of the object's shard.
	ReasonHubOutsideShard = "HubOutsideShard"
	// ReasonHubNotReady: the HubConnection is there and is not Ready; its own
	// conditions say why.
	ReasonHubNotReady = "HubNotReady"
)

// Reasons of a DeviceTwin.
const (
	// ReasonDeviceClaimed: another DeviceTwin keeps the same twin; this one takes
	// over when that one goes.
	ReasonDeviceClaimed = "DeviceClaimed"
	// ReasonOwnedElsewhere: the twin carries another owner's tag, such as that of
	// another cluster.
	ReasonOwnedElsewhere = "OwnedElsewhere"
	// ReasonDeviceNotFound: the device is not registered with the hub.
	ReasonDeviceNotFound = "DeviceNotFound"
	// ReasonDeviceDeleted: the device or module was registered by this object and is
	// gone; it is not registered again.
	ReasonDeviceDeleted = "DeviceDeleted"
	// ReasonSecretNotOwned: the Secret of spec.connectionSecretName belongs to
	// another object or user. Nothing was registered.
	ReasonSecretNotOwned = "SecretNotOwned"
	// ReasonSecretNotAllowed: the manager may not create the Secret of
	// spec.connectionSecretName. No device is registered without it.
	ReasonSecretNotAllowed = "SecretNotAllowed"
	// ReasonRegisteredElsewhere: another client registered the device or module, with
	// other keys than those in the Secret of spec.connectionSecretName.
	ReasonRegisteredElsewhere = "RegisteredElsewhere"
	// ReasonDeleting: the object is being deleted and the hub is not cleaned up yet.
	ReasonDeleting = "Deleting"
	// ReasonInvalidTwin: the declaration breaks a rule, such as one of IoT Hub's twin
	// format; the message names field, rule and limit. Nothing was sent.
	ReasonInvalidTwin = "InvalidTwin"
	// ReasonRefusedByHub: the hub refused the change (HTTP 400).
	ReasonRefusedByHub = "RefusedByHub"
	// ReasonConflict: the hub holds another writer's value where the
	// declaration needs an object, or the other way round; writing would wipe it.
	// The other leaves are kept in step.
	ReasonConflict = "Conflict"
	// ReasonContended: other writers changed the twin under every attempt.
	ReasonContended = "Contended"
	// ReasonNotConverging: the hub accepted the change and spells it in another way, or
	// does not hold it. It is written again once an hour at most.
	ReasonNotConverging = "NotConverging"
	// ReasonHubReadOnly: the twin needs a change and the HubConnection's mode is ReadOnly.
	ReasonHubReadOnly = "HubReadOnly"
	// ReasonHubPaused: the twin needs a change and the HubConnection's guard has
	// stopped all of them until the user resumes them.
	ReasonHubPaused = "HubPaused"
	// ReasonRecordTooLarge: the ownership record does not fit into the status.
	ReasonRecordTooLarge = "RecordTooLarge"
	// ReasonRecordLost: the ownership record was in the status and is gone, or cannot
	// be read.
	ReasonRecordLost = "RecordLost"
)

// Reasons of a DeviceTwin's Drifted.
const (
	// ReasonObserved: policy Observe keeps the leaves from being written.
	ReasonObserved = "Observed"
	// ReasonYielded: policy Yield leaves another writer's values.
	ReasonYielded = "Yielded"
)

// Reasons of a DeviceTwin's Acknowledged.
const (
	// ReasonAcknowledged: the device has taken over every declared desired property.
	ReasonAcknowledged = "Acknowledged"
	// ReasonNeverReported: the device has never reported any of them.
	ReasonNeverReported = "NeverReported"
	// ReasonAwaitingDevice: some are not acknowledged yet, and there is time left.
	ReasonAwaitingDevice = "AwaitingDevice"
	// ReasonNotAcknowledged: some are not acknowledged within spec.acknowledgeTimeout.
	ReasonNotAcknowledged = "NotAcknowledged"
	// ReasonRejectedByDevice: the device refused some.
	ReasonRejectedByDevice = "RejectedByDevice"
)

// Reasons of a HubConnection's Paused.
const (
	// ReasonGuardTripped: more twins would have been changed within an hour than
	// spec.guard allows.
	ReasonGuardTripped = "GuardTripped"
)

// Reasons of a HubConnection's QuotaPressure, besides ReasonQuotaExceeded.
const (
	// ReasonDailyMessagesLow: for the rest of the day there is less than half of an
	// even share left.
	ReasonDailyMessagesLow = "DailyMessagesLow"
	// ReasonDailyMessagesUsed: the share is used up.
	ReasonDailyMessagesUsed = "DailyMessagesUsed"
)

// Reasons of a HubConnection's ReadBackLate.
const (
	// ReasonReadBackFailing: queries to the hub fail, or their answers cannot be
	// used; the message says how.
	ReasonReadBackFailing = "ReadBackFailing"
	// ReasonReadBackBlocked: a query to the hub has had no answer.
	ReasonReadBackBlocked = "ReadBackBlocked"
	// ReasonReadBackSlow: a pass over the hub takes longer than it did.
	ReasonReadBackSlow = "ReadBackSlow"
)

// Reasons of a TwinQuery's MembershipsLate.
const (
	// ReasonMembershipsFailing: the queries for members fail; the message says how.
	ReasonMembershipsFailing = "MembershipsFailing"
	// ReasonMembershipsBlocked: a query for members has had no answer.
	ReasonMembershipsBlocked = "MembershipsBlocked"
)

// Reasons of a TwinQuery.
const (
	// ReasonInvalidQuery: spec.where does not parse; the message says where and
	// why. The hub was not asked.
	ReasonInvalidQuery = "InvalidQuery"
	// ReasonQueryRefused: the hub refused the query (HTTP 400).
	ReasonQueryRefused = "QueryRefused"
)

// Reasons of a TwinRequest, besides those of the objects that it asks about.
const (
	// ReasonAnswerTooLarge: the answer does not fit into the status; nothing of it is there.
	ReasonAnswerTooLarge = "AnswerTooLarge"
	// ReasonTimedOut: there was no answer within a minute; the message says what was
	// waited for.
	ReasonTimedOut = "TimedOut"
)

// Reasons of a DeviceTwinSet. While a rollout goes on they are named like its phases.
const (
	// ReasonInvalidSet: the declaration breaks a rule; the message names field and rule. Nothing
	// was sent.
	ReasonInvalidSet = "InvalidSet"
	// ReasonTooManyDevices: the selector selects more than spec.maxDevices. Nothing is written.
	ReasonTooManyDevices = "TooManyDevices"
	// ReasonProgressing: devices of a wave are written, or are waited for.
	ReasonProgressing = "Progressing"
	// ReasonSoaking: a wave is complete, and watched for its soak time.
	ReasonSoaking = "Soaking"
	// ReasonAwaitingApproval: a wave is complete, and the next needs an approval.
	ReasonAwaitingApproval = "AwaitingApproval"
	// ReasonRolloutPaused: spec.rollout.paused is true.
	ReasonRolloutPaused = "RolloutPaused"
	// ReasonRolloutFailed: too many devices failed; nothing more is written of the revision.
	ReasonRolloutFailed = "RolloutFailed"
	// ReasonRolloutAborted: a user has stopped the revision.
	ReasonRolloutAborted = "RolloutAborted"
	// ReasonRollingBack: the stable revision is written again.
	ReasonRollingBack = "RollingBack"
	// ReasonRolledBack: the devices hold the stable revision instead of what is declared.
	ReasonRolledBack = "RolledBack"
)

// Reasons of events that are no condition.
const (
	// EventDriftCorrected: another writer changed declared leaves on the hub; they
	// were restored.
	EventDriftCorrected = "DriftCorrected"
	// EventLeftBehind: leaves that left the manifest hold another writer's value
	// on the hub and were left alone.
	EventLeftBehind = "LeftBehind"
	// EventCleanedUp: the hub was cleaned up before the object went.
	EventCleanedUp = "CleanedUp"
	// EventRegistered: the device or module was registered.
	EventRegistered = "Registered"
	// EventDeviceRecreated: the device or module was deleted and registered anew by
	// another client; its twin is brought into step again.
	EventDeviceRecreated = "DeviceRecreated"
	// EventNotActedUpon: an annotation asks for something that there is no reason, or no way, to do.
	EventNotActedUpon = "NotActedUpon"
	// EventUnreadableTwins: the hub's index shows twins in a way that cannot be used;
	// they are left out.
	EventUnreadableTwins = "UnreadableTwins"
)
