// Package hubaccess says which hub an object of a namespace may use, and which devices of
// it: it joins what a HubConnection allows with the session that its reconciler has
// published.
//
// It never talks to a hub, and opens no session.
package hubaccess
