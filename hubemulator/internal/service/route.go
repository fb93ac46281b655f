package service

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// actions are data actions that an operation needs, or entra.SASOnly.
type actions []entra.Action

// route is one operation of the service API.
type route struct {
	method string
	// pattern is the path: segments to be taken literally, and placeholders in
	// braces. The first route to match wins.
	pattern string

	operation  string
	throttle   throttle.Type
	permission store.Permission
	actions    actions // what the bearer of an Entra token needs; all of them
	run        func(*handler, call) (answer, error)
}

var routes = [...]route{
	{http.MethodPost, "devices/query", Query, throttle.QueryTwins, store.ServiceConnect, actions{entra.TwinsRead}, (*handler).runQuery},
	{http.MethodGet, "twins/{device}", GetTwin, throttle.TwinRead, store.ServiceConnect, actions{entra.TwinsRead}, (*handler).getTwin},
	{http.MethodPatch, "twins/{device}", UpdateTwin, throttle.TwinUpdate, store.ServiceConnect, actions{entra.TwinsWrite}, (*handler).patchTwin},
	{http.MethodPut, "twins/{device}", ReplaceTwin, throttle.TwinUpdate, store.ServiceConnect, actions{entra.TwinsWrite}, (*handler).replaceTwin},
	{http.MethodGet, "twins/{device}/modules/{module}", GetModuleTwin, throttle.TwinRead, store.ServiceConnect, actions{entra.TwinsRead}, (*handler).getTwin},
	{http.MethodPatch, "twins/{device}/modules/{module}", UpdateModuleTwin, throttle.TwinUpdate, store.ServiceConnect, actions{entra.TwinsWrite}, (*handler).patchTwin},
	{http.MethodPut, "twins/{device}/modules/{module}", ReplaceModuleTwin, throttle.TwinUpdate, store.ServiceConnect, actions{entra.TwinsWrite}, (*handler).replaceTwin},
	{http.MethodPost, "twins/{device}/methods", InvokeMethod, throttle.DirectMethod, store.ServiceConnect, actions{entra.MethodsInvoke}, (*handler).invokeMethod},
	{http.MethodPost, "twins/{device}/modules/{module}/methods", InvokeModuleMethod, throttle.DirectMethod, store.ServiceConnect, actions{entra.MethodsInvoke}, (*handler).invokeMethod},
	{http.MethodGet, "digitaltwins/{device}", GetDigitalTwin, throttle.TwinRead, store.ServiceConnect, actions{entra.TwinsRead}, (*handler).getDigitalTwin},
	{http.MethodPatch, "digitaltwins/{device}", UpdateDigitalTwin, throttle.TwinUpdate, store.ServiceConnect, actions{entra.TwinsWrite}, (*handler).patchDigitalTwin},
	{http.MethodPost, "digitaltwins/{device}/commands/{command}", InvokeCommand, throttle.DirectMethod, store.ServiceConnect, actions{entra.SASOnly}, (*handler).invokeCommand},
	{http.MethodPost, "digitaltwins/{device}/components/{component}/commands/{command}", InvokeComponentCommand, throttle.DirectMethod, store.ServiceConnect, actions{entra.SASOnly}, (*handler).invokeCommand},
	{http.MethodDelete, "devices/{device}/commands", PurgeCommands, throttle.PurgeCommands, store.ServiceConnect, actions{entra.CommandsPurge}, (*handler).purgeCommands},
	{http.MethodGet, "devices", ListDevices, throttle.RegistryRead, store.RegistryRead, actions{entra.DevicesRead}, (*handler).listDevices},
	{http.MethodPost, "devices", BulkDevices, throttle.RegistryWrite, store.RegistryWrite, actions{entra.DevicesWrite, entra.DevicesDelete}, (*handler).bulkDevices},
	{http.MethodGet, "devices/{device}", GetDevice, throttle.RegistryRead, store.RegistryRead, actions{entra.DevicesRead}, (*handler).getIdentity},
	{http.MethodPut, "devices/{device}", PutDevice, throttle.RegistryWrite, store.RegistryWrite, actions{entra.DevicesWrite}, (*handler).putIdentity},
	{http.MethodDelete, "devices/{device}", DeleteDevice, throttle.RegistryWrite, store.RegistryWrite, actions{entra.DevicesDelete}, (*handler).deleteIdentity},
	{http.MethodGet, "devices/{device}/modules", ListModules, throttle.RegistryRead, store.RegistryRead, actions{entra.DevicesRead}, (*handler).listModules},
	{http.MethodGet, "devices/{device}/modules/{module}", GetModule, throttle.RegistryRead, store.RegistryRead, actions{entra.DevicesRead}, (*handler).getIdentity},
	{http.MethodPut, "devices/{device}/modules/{module}", PutModule, throttle.RegistryWrite, store.RegistryWrite, actions{entra.DevicesWrite}, (*handler).putIdentity},
	{http.MethodDelete, "devices/{device}/modules/{module}", DeleteModule, throttle.RegistryWrite, store.RegistryWrite, actions{entra.DevicesDelete}, (*handler).deleteIdentity},
	{http.MethodPost, "devices/keys/regenerate", RenewKeys, throttle.RegistryWrite, store.RegistryWrite, actions{entra.DevicesWrite}, (*handler).renewKeys},
	{http.MethodPost, "devices/{device}/messages/events", SendEvent, throttle.DeviceSend, store.DeviceConnect, actions{entra.SASOnly}, (*handler).sendEvent},
	{http.MethodGet, "devices/{device}/messages/deviceBound", ReceiveCommand, throttle.CommandReceive, store.DeviceConnect, actions{entra.SASOnly}, (*handler).receiveCommand},
	{http.MethodDelete, "devices/{device}/messages/deviceBound/{lock}", CompleteCommand, throttle.CommandComplete, store.DeviceConnect, actions{entra.SASOnly}, (*handler).completeCommand},
	{http.MethodPost, "devices/{device}/messages/deviceBound/{lock}/abandon", AbandonCommand, throttle.CommandAbandon, store.DeviceConnect, actions{entra.SASOnly}, (*handler).abandonCommand},
	{http.MethodGet, "jobs", ListImportJobs, throttle.JobRead, store.RegistryRead, actions{entra.JobsRead}, (*handler).listImportJobs},
	{http.MethodGet, "jobs/v2/query", QueryJobs, throttle.JobRead, store.RegistryRead, actions{entra.JobsRead}, (*handler).queryJobs},
	{http.MethodGet, "jobs/v2/{job}", GetJob, throttle.JobRead, store.RegistryRead, actions{entra.JobsRead}, (*handler).getJob},
	{http.MethodPut, "jobs/v2/{job}", CreateJob, throttle.JobWrite, store.RegistryWrite, actions{entra.JobsWrite}, (*handler).createJob},
	{http.MethodPost, "jobs/v2/{job}/cancel", CancelJob, throttle.JobWrite, store.RegistryWrite, actions{entra.JobsDelete}, (*handler).cancelJob},
	{http.MethodGet, "statistics/devices", DeviceStatistics, throttle.RegistryRead, store.RegistryRead, actions{entra.StatisticsRead}, (*handler).deviceStatistics},
	{http.MethodGet, "statistics/service", ServiceStatistics, throttle.RegistryRead, store.ServiceConnect, actions{entra.StatisticsRead}, (*handler).serviceStatistics},
	{http.MethodPost, "configurations/testQueries", TestConfigurationQueries, throttle.ConfigurationRead, readConfigurations, actions{entra.ConfigurationsTestQueries}, (*handler).testConfigurationQueries},
	{http.MethodGet, "configurations", ListConfigurations, throttle.ConfigurationRead, readConfigurations, actions{entra.ConfigurationsRead}, (*handler).listConfigurations},
	{http.MethodGet, "configurations/{configuration}", GetConfiguration, throttle.ConfigurationRead, readConfigurations, actions{entra.ConfigurationsRead}, (*handler).getConfiguration},
	{http.MethodPut, "configurations/{configuration}", PutConfiguration, throttle.ConfigurationWrite, writeConfigurations, actions{entra.ConfigurationsWrite}, (*handler).putConfiguration},
	{http.MethodDelete, "configurations/{configuration}", DeleteConfiguration, throttle.ConfigurationWrite, writeConfigurations, actions{entra.ConfigurationsDelete}, (*handler).deleteConfiguration},
	{http.MethodPost, "devices/{device}/applyConfigurationContent", ApplyConfigurationContent, throttle.ConfigurationWrite, writeConfigurations, actions{entra.ConfigurationsApplyToEdge}, (*handler).applyConfigurationContent},
}

// The placeholders that make up what a call is about.
const (
	devicePlaceholder    = "{device}"
	modulePlaceholder    = "{module}"
	componentPlaceholder = "{component}"
	commandPlaceholder   = "{command}"
	jobPlaceholder       = "{job}"
	lockPlaceholder      = "{lock}"
)

// configurationPlaceholder stands for a configuration's id.
const configurationPlaceholder = "{configuration}"

// What configurations need is not established; they change twins of devices
// that only the registry knows, so both rights are asked for.
const (
	readConfigurations  = store.ServiceConnect | store.RegistryRead
	writeConfigurations = store.ServiceConnect | store.RegistryWrite
)

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

// parameters returns what a path that matches has in place of each placeholder.
func (r route) parameters(path []string) map[string]string {
	found := map[string]string{}
	for i, segment := range strings.Split(r.pattern, "/") {
		if isPlaceholder(segment) {
			found[segment] = path[i]
		}
	}
	return found
}

// ofDevice reports whether devices call the operation, with credentials of their own.
func (r route) ofDevice() bool { return r.permission == store.DeviceConnect }

func isPlaceholder(segment string) bool { return strings.HasPrefix(segment, "{") }

// collections are the parts of the real service API, whether offered here or not.
var collections = [...]string{"twins", "devices", "configurations", "jobs", "statistics", "digitaltwins", "messages"}

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

func findRoute(method string, path []string) (route, error) {
	for _, r := range routes {
		if r.method == method && matches(r.pattern, path) {
			return r, nil
		}
	}
	for _, known := range absent {
		if (known.method == "" || known.method == method) && matches(known.pattern, path) {
			return route{}, known.refusal
		}
	}
	if slices.Contains(collections[:], path[0]) {
		return route{}, errNotOffered
	}
	return route{}, errNoRoute
}
