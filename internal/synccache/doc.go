// Package synccache remembers which DeviceTwins were brought into step with the hub, and for
// which declaration: those need nothing of the hub until that changes or their twin moves.
//
// It never talks to the hub or to the API server, and holds nothing that a restart may not
// lose: what it does not know is taken from an object's status.
package synccache
