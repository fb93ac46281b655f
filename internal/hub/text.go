package hub

import (
	"fmt"
	"strings"
)

// explanation is what a reason means to a person: what happened, and what to do about it.
type explanation struct {
	happened, advice string
}

// explain returns the words for a reason.
func explain(reason Reason) explanation {
	return explanations[reason]
}

// explanations is read only.
var explanations = map[Reason]explanation{
	ReasonMalformedConnectionString: {"the connection string cannot be used", ""},
	ReasonHostNotAllowed: {
		"the credential may not be sent to this host",
		"correct HostName in the connection string, or have the host added to --allowed-host-suffixes",
	},
	ReasonInvalidCABundle: {"caBundle cannot be used", "put PEM certificates there and nothing else"},
	ReasonUnauthorized: {
		"the credential was refused",
		"check that the policy in the connection string exists and has the ServiceConnect permission, that the key is its current one, " +
			"and that the clock of this machine is right",
	},
	ReasonUnknownHost: {"the host name cannot be resolved", "check HostName in the connection string, and that DNS works here"},
	ReasonUntrustedCertificate: {
		"the certificate of the host is not trusted", "",
	},
	ReasonDeviceNotFound: {"the hub has no such device or module", "register it, or correct the id"},
	ReasonDeviceOffline: {
		"the device or module is not connected to the hub, or takes no methods, and nothing was called", "try again when it is connected",
	},
	ReasonDeviceTimeout: {
		"the device or module was called and did not answer in time",
		"it may have done what it was called for: look at it before you call again, and give it longer",
	},
	ReasonAlreadyExists: {"the hub has such a device or module already", "read it, or choose another id"},
	ReasonPreconditionFailed: {
		"the twin has changed since it was read, and nothing was written", "read it again and decide anew",
	},
	ReasonThrottled:     {"too many requests for the limits of this hub", "it is tried again later; a larger tier or fewer requests help"},
	ReasonQuotaExceeded: {"the daily message quota of the hub is used up", "wait for midnight UTC, or add units to the hub"},
	ReasonRefused:       {"the request was refused", "correct it; the same request will be refused again"},
	ReasonForbidden: {
		"the hub does not allow this operation", "device twins need the Free or Standard tier; check the hub's tier and its network rules",
	},
	ReasonUnreachable:      {"the host could not be reached", "check the network between here and the hub; it is tried again"},
	ReasonServerError:      {"the hub failed to answer", "it is tried again; look at the service's health if it lasts"},
	ReasonNotLeading:       {"nothing was sent, since another manager may be the leader by now", ""},
	ReasonUnexpectedAnswer: {"the answer is not one that IoT Hub gives", "check that HostName is that of an IoT Hub, and what proxies are on the way"},
}

// text composes "IoT Hub <host>: <doing what>: <what happened> (<status and code>): <detail>; <advice>".
func (e *Error) text() string {
	words := explain(e.Reason)
	if e.Reason == ReasonUnauthorized && operation(e.Op).onRegistry() {
		words.advice = "registering and deleting devices takes a policy with the RegistryRead and RegistryWrite permissions as well as " +
			"ServiceConnect, such as iothubowner; check that the key is its current one"
	}
	if advice := e.notTriedAgain(); advice != "" {
		words.advice = advice
	}
	var b strings.Builder
	if e.Host != "" {
		fmt.Fprintf(&b, "IoT Hub %s: ", e.Host)
	}
	if doing := e.doing(); doing != "" {
		b.WriteString(doing + ": ")
	}
	b.WriteString(words.happened)
	if label := strings.TrimSpace(e.statusText() + " " + e.Code); label != "" {
		fmt.Fprintf(&b, " (%s)", label)
	}
	if e.detail != "" {
		b.WriteString(": " + e.detail)
	}
	if words.advice != "" {
		b.WriteString("; " + words.advice)
	}
	return b.String()
}

// notTriedAgain is what to do after a call that passes by itself, and that nothing makes again: a method is called once.
func (e *Error) notTriedAgain() string {
	if operation(e.Op) != opInvokeMethod {
		return ""
	}
	switch e.Reason {
	case ReasonUnreachable, ReasonServerError, ReasonThrottled:
	default:
		return ""
	}
	if e.Sent {
		return "whether the device was called is not known: look at it before you call again"
	}
	return "nothing was called; try again"
}

func (e *Error) statusText() string {
	if e.Status == 0 {
		return ""
	}
	return fmt.Sprintf("%d", e.Status)
}

func (e *Error) doing() string {
	switch operation(e.Op) {
	case opProbe:
		return "trying the credential"
	case opGetTwin:
		return "reading the twin of " + e.ID.describe()
	case opUpdateTwin:
		return "changing the twin of " + e.ID.describe()
	case opQuery:
		return "asking a query"
	case opInvokeMethod:
		return "calling a method of " + e.ID.describe()
	case opGetIdentity:
		return "reading the identity of " + e.ID.describe()
	case opCreateIdentity:
		return "registering " + e.ID.describe()
	case opUpdateIdentity:
		return "changing the authentication of " + e.ID.describe()
	case opDeleteIdentity:
		return "deleting " + e.ID.describe()
	}
	return ""
}
