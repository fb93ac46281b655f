// Package sessions has sessions that lead to no hub, for tests of what only passes sessions on.
// It is for tests alone.
package sessions

import (
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// Session is one of which nothing but the host and the dispatcher may be asked.
type Session struct {
	hub.Session

	host       string
	dispatcher *dispatch.Share
}

// To returns a session that leads to a host. The dispatcher may be nil where it is not asked.
func To(host string, dispatcher *dispatch.Share) Session {
	return Session{host: host, dispatcher: dispatcher}
}

// Host implements hub.Session.
func (s Session) Host() string { return s.host }

// Dispatcher implements hub.Session.
func (s Session) Dispatcher() *dispatch.Share { return s.dispatcher }
