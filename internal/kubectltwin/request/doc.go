// Package request has the manager answer questions about a hub, by TwinRequests: it creates one for each, waits for the
// answer and deletes it.
package request
