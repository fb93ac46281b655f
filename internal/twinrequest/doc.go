// Package twinrequest answers TwinRequests: which twins satisfy a condition, and what a
// DeviceTwin would write to its hub. It asks the hub through the session that the request's
// namespace may use, with a permit, for the devices that it may use.
//
// It writes nothing, neither to a hub nor to the API server, and claims no twin.
package twinrequest
