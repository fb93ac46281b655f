package hub

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// verdict is what an answer of a hub says of the credential.
type verdict int32

const (
	unheard  verdict = iota // the hub has said nothing of it
	accepted                // it answered as it does only to those whom it has authorised
	refused                 // it said that the credential is wrong, or is not enough
)

// standing is how a session stands with its hub.
type standing struct {
	share *dispatch.Share
	// last is the last verdict.
	last atomic.Int32
	// changed is called after another verdict; nil when that makes no difference.
	changed func()
}

func (s *standing) proved() bool { return verdict(s.last.Load()) == accepted }

// hear takes a verdict into account, before the answer itself is.
func (s *standing) hear(v verdict) {
	if v == unheard || verdict(s.last.Swap(int32(v))) == v {
		return
	}
	if s.changed != nil {
		s.changed()
	}
}

// verdictOf reads it off an answer. What the hub says before it has looked at the credential,
// as of its load or its quota, says nothing; and neither do operations on identities, which
// need permissions of their own.
func verdictOf(op operation, res *http.Response) verdict {
	if op.onRegistry() {
		return unheard
	}
	if res.StatusCode == http.StatusOK {
		return accepted
	}
	var content []byte
	if body, ok := res.Body.(*wholeBody); ok {
		content = body.bytes
	}
	code, _ := hubError(res.Header, content, nil)
	switch statusReason(res.StatusCode, code) {
	case ReasonUnauthorized, ReasonForbidden:
		return refused
	case ReasonDeviceNotFound, ReasonDeviceOffline, ReasonDeviceTimeout, ReasonPreconditionFailed, ReasonRefused:
		return accepted
	default:
		return unheard
	}
}

// ofSession tells whether a request failed at the session's own end rather than at the hub:
// by what the session trusts, by how it signs in, or by the proxy on its way.
func ofSession(err error) bool {
	if own, ok := errors.AsType[*Error](err); ok {
		return own.ofSession
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "proxyconnect" || certificateProblem(err) != ""
}
