package service

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// route is one operation of the service API.
type route struct {
	method     string
	collection string // the first segment of the path
	hasID      bool   // whether a device id follows
	rest       string // what follows otherwise

	operation  string
	throttle   string // the name of the operation's throttle in a 429
	permission store.Permission
	run        func(*handler, call) (answer, error)
}

var routes = [...]route{
	{http.MethodPost, "devices", false, "query", Query, "QueryTwins", store.ServiceConnect, (*handler).runQuery},
	{http.MethodGet, "twins", true, "", GetTwin, "TwinRead", store.ServiceConnect, (*handler).getTwin},
	{http.MethodPatch, "twins", true, "", UpdateTwin, "TwinUpdate", store.ServiceConnect, (*handler).patchTwin},
	{http.MethodPut, "twins", true, "", ReplaceTwin, "TwinUpdate", store.ServiceConnect, (*handler).replaceTwin},
	{http.MethodGet, "devices", false, "", ListDevices, "RegistryRead", store.RegistryRead, (*handler).listDevices},
	{http.MethodGet, "devices", true, "", GetDevice, "RegistryRead", store.RegistryRead, (*handler).getDevice},
	{http.MethodPut, "devices", true, "", PutDevice, "RegistryWrite", store.RegistryWrite, (*handler).putDevice},
	{http.MethodDelete, "devices", true, "", DeleteDevice, "RegistryWrite", store.RegistryWrite, (*handler).deleteDevice},
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

func (r route) matchesPath(path []string) bool {
	switch {
	case path[0] != r.collection:
		return false
	case r.hasID:
		return len(path) == 2
	case r.rest != "":
		return len(path) == 2 && path[1] == r.rest
	default:
		return len(path) == 1
	}
}

// collections are the parts of the real service API, whether offered here or not.
var collections = [...]string{"twins", "devices", "configurations", "jobs", "statistics", "digitaltwins", "messages"}

func findRoute(method string, path []string) (route, error) {
	for _, r := range routes {
		if r.method == method && r.matchesPath(path) {
			return r, nil
		}
	}
	if slices.Contains(collections[:], path[0]) {
		return route{}, errNotOffered
	}
	return route{}, errNoRoute
}
