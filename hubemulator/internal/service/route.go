package service

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// actions are data actions that an operation needs, or entra.SASOnly.
type actions []entra.Action

// route is one operation of the service API, and all that is decided for it.
type route struct {
	name   string // as counters and faults know it
	method string
	// pattern is the path: segments to be taken literally, and placeholders in
	// braces. Of the routes that match, the one with the fewest placeholders wins.
	pattern string
	run     func(*handler, call) (answer, error)

	// permission is what a shared access policy has to grant. An operation that
	// takes store.DeviceConnect is one of devices, which have credentials of
	// their own.
	permission store.Permission
	// rights is the choice that changes permission; nil if there is none.
	rights  func(Choices) Rights
	actions actions // what the bearer of an Entra token needs; all of them

	throttle throttle.Type
	// shares is how many shares of its throttle a call takes; nil for one.
	shares  func(*handler, call) int
	billing billing
	maxBody int64 // the most that is read of a request, in bytes; 0 for usualMaxBody

	readsTwin bool // whether run heeds call.stale
	queries   bool // whether run heeds call.frozen
}

// Operations returns the operations of the service API.
func Operations() []fault.Operation {
	operations := make([]fault.Operation, 0, len(routes))
	for _, r := range routes {
		operations = append(operations, fault.Operation{Name: r.name, ReadsTwin: r.readsTwin, Queries: r.queries})
	}
	return operations
}

// splitPath decodes a path segment by segment: a device id may contain what
// separates segments, or dots that mean something elsewhere.
func splitPath(escaped string) ([]string, bool) {
	segments := strings.Split(strings.Trim(escaped, "/"), "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil || decoded == "" {
			return nil, false
		}
		segments[i] = decoded
	}
	return segments, true
}

func matches(pattern string, path []string) bool {
	rest, more := pattern, true
	for _, segment := range path {
		if !more {
			return false
		}
		var wanted string
		wanted, rest, more = strings.Cut(rest, "/")
		// Clients differ in the case of some names, such as deviceBound.
		if !strings.EqualFold(wanted, segment) && !isPlaceholder(wanted) {
			return false
		}
	}
	return !more
}

// parameters returns what a path that matches has in place of each placeholder,
// by its name without braces.
func (r *route) parameters(path []string) map[string]string {
	found := map[string]string{}
	for i, segment := range strings.Split(r.pattern, "/") {
		if isPlaceholder(segment) {
			found[strings.Trim(segment, "{}")] = path[i]
		}
	}
	return found
}

// ofDevice reports whether devices call the operation, with credentials of their own.
func (r *route) ofDevice() bool { return r.permission == store.DeviceConnect }

func (r *route) placeholders() int { return strings.Count(r.pattern, "{") }

func isPlaceholder(segment string) bool { return strings.HasPrefix(segment, "{") }

// absent are operations of the real service that need more than a hub: calls of
// them are told what to use instead. An empty method stands for all.
var absent = [...]struct {
	method, pattern string
	refusal         *store.Error
}{
	{http.MethodPost, "jobs/create", errNoImport},
	{http.MethodGet, "jobs/{id}", errNoImport},
	{http.MethodDelete, "jobs/{id}", errNoImport},
	{"", "$servicebus/websocket", errNoAMQP},
	{"", "$iothub/websocket", errNoAMQP},
}

// messages is the part of the real service API of which nothing is offered here.
const messages = "messages"

func findRoute(method string, path []string) (*route, error) {
	var found *route
	for i := range routes {
		r := &routes[i]
		if r.method == method && matches(r.pattern, path) && (found == nil || r.placeholders() < found.placeholders()) {
			found = r
		}
	}
	if found != nil {
		return found, nil
	}
	for _, known := range absent {
		if (known.method == "" || known.method == method) && matches(known.pattern, path) {
			return nil, known.refusal
		}
	}
	if isCollection(path[0]) {
		return nil, errNotOffered
	}
	return nil, errNoRoute
}

// isCollection reports whether paths of the real service API begin like this.
func isCollection(first string) bool {
	return first == messages || slices.ContainsFunc(routes[:], func(r route) bool {
		collection, _, _ := strings.Cut(r.pattern, "/")
		return collection == first
	})
}
