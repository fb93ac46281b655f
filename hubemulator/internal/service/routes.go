package service

import (
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// What configurations need is not established; they change twins of devices
// that only the registry knows, so both rights are asked for.
const (
	readConfigurations  = store.ServiceConnect | store.RegistryRead
	writeConfigurations = store.ServiceConnect | store.RegistryWrite
)

// routes are all operations of the service API, in the order in which the
// refusal of a fault lists them.
var routes = [...]route{
	{
		name: "getTwin", method: http.MethodGet, pattern: "twins/{device}", run: (*handler).getTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsRead},
		throttle: throttle.TwinRead, billing: billAnswer, readsTwin: true,
	},
	{
		name: "updateTwin", method: http.MethodPatch, pattern: "twins/{device}", run: (*handler).patchTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsWrite},
		throttle: throttle.TwinUpdate, billing: billRequest,
	},
	{
		name: "replaceTwin", method: http.MethodPut, pattern: "twins/{device}", run: (*handler).replaceTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsWrite},
		throttle: throttle.TwinUpdate, billing: billRequest,
	},
	{
		name: "query", method: http.MethodPost, pattern: "devices/query", run: (*handler).runQuery,
		permission: store.ServiceConnect, actions: actions{entra.TwinsRead},
		throttle: throttle.QueryTwins, shares: queryShares, billing: billRows, queries: true,
	},
	{
		name: "getDevice", method: http.MethodGet, pattern: "devices/{device}", run: (*handler).getIdentity,
		permission: store.RegistryRead, actions: actions{entra.DevicesRead},
		throttle: throttle.RegistryRead, billing: free,
	},
	{
		name: "putDevice", method: http.MethodPut, pattern: "devices/{device}", run: (*handler).putIdentity,
		permission: store.RegistryWrite, actions: actions{entra.DevicesWrite},
		throttle: throttle.RegistryWrite, billing: free,
	},
	{
		name: "deleteDevice", method: http.MethodDelete, pattern: "devices/{device}", run: (*handler).deleteIdentity,
		permission: store.RegistryWrite, actions: actions{entra.DevicesDelete},
		throttle: throttle.RegistryWrite, billing: free,
	},
	{
		name: "listDevices", method: http.MethodGet, pattern: "devices", run: (*handler).listDevices,
		permission: store.RegistryRead, actions: actions{entra.DevicesRead},
		throttle: throttle.RegistryRead, billing: free,
	},
	{
		name: "bulkDevices", method: http.MethodPost, pattern: "devices", run: (*handler).bulkDevices,
		permission: store.RegistryWrite, actions: actions{entra.DevicesWrite, entra.DevicesDelete},
		throttle: throttle.RegistryWrite, shares: bulkShares, billing: free, maxBody: maxBulkBody,
	},
	{
		name: "renewKeys", method: http.MethodPost, pattern: "devices/keys/regenerate", run: (*handler).renewKeys,
		permission: store.RegistryWrite, actions: actions{entra.DevicesWrite},
		throttle: throttle.RegistryWrite, billing: free,
	},
	{
		name: "getModuleTwin", method: http.MethodGet, pattern: "twins/{device}/modules/{module}", run: (*handler).getTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsRead},
		throttle: throttle.TwinRead, billing: billAnswer, readsTwin: true,
	},
	{
		name: "updateModuleTwin", method: http.MethodPatch, pattern: "twins/{device}/modules/{module}", run: (*handler).patchTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsWrite},
		throttle: throttle.TwinUpdate, billing: billRequest,
	},
	{
		name: "replaceModuleTwin", method: http.MethodPut, pattern: "twins/{device}/modules/{module}", run: (*handler).replaceTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsWrite},
		throttle: throttle.TwinUpdate, billing: billRequest,
	},
	{
		name: "getModule", method: http.MethodGet, pattern: "devices/{device}/modules/{module}", run: (*handler).getIdentity,
		permission: store.RegistryRead, actions: actions{entra.DevicesRead},
		throttle: throttle.RegistryRead, billing: free,
	},
	{
		name: "putModule", method: http.MethodPut, pattern: "devices/{device}/modules/{module}", run: (*handler).putIdentity,
		permission: store.RegistryWrite, actions: actions{entra.DevicesWrite},
		throttle: throttle.RegistryWrite, billing: free,
	},
	{
		name: "deleteModule", method: http.MethodDelete, pattern: "devices/{device}/modules/{module}", run: (*handler).deleteIdentity,
		permission: store.RegistryWrite, actions: actions{entra.DevicesDelete},
		throttle: throttle.RegistryWrite, billing: free,
	},
	{
		name: "listModules", method: http.MethodGet, pattern: "devices/{device}/modules", run: (*handler).listModules,
		permission: store.RegistryRead, actions: actions{entra.DevicesRead},
		throttle: throttle.RegistryRead, billing: free,
	},
	{
		name: "deviceStatistics", method: http.MethodGet, pattern: "statistics/devices", run: (*handler).deviceStatistics,
		permission: store.RegistryRead, actions: actions{entra.StatisticsRead},
		throttle: throttle.RegistryRead, billing: free,
	},
	{
		name: "serviceStatistics", method: http.MethodGet, pattern: "statistics/service", run: (*handler).serviceStatistics,
		permission: store.ServiceConnect, actions: actions{entra.StatisticsRead},
		throttle: throttle.RegistryRead, billing: free,
	},
	{
		name: "invokeMethod", method: http.MethodPost, pattern: "twins/{device}/methods", run: (*handler).invokeMethod,
		permission: store.ServiceConnect, actions: actions{entra.MethodsInvoke},
		throttle: throttle.DirectMethod, shares: methodShares, billing: billBoth,
	},
	{
		name: "invokeModuleMethod", method: http.MethodPost, pattern: "twins/{device}/modules/{module}/methods", run: (*handler).invokeMethod,
		permission: store.ServiceConnect, actions: actions{entra.MethodsInvoke},
		throttle: throttle.DirectMethod, shares: methodShares, billing: billBoth,
	},
	{
		name: "purgeCommands", method: http.MethodDelete, pattern: "devices/{device}/commands", run: (*handler).purgeCommands,
		permission: store.ServiceConnect, actions: actions{entra.CommandsPurge},
		throttle: throttle.PurgeCommands, billing: free,
	},
	{
		name: "getDigitalTwin", method: http.MethodGet, pattern: "digitaltwins/{device}", run: (*handler).getDigitalTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsRead},
		throttle: throttle.TwinRead, billing: billAnswer, readsTwin: true,
	},
	{
		name: "updateDigitalTwin", method: http.MethodPatch, pattern: "digitaltwins/{device}", run: (*handler).patchDigitalTwin,
		permission: store.ServiceConnect, actions: actions{entra.TwinsWrite},
		throttle: throttle.TwinUpdate, billing: billRequest,
	},
	{
		name: "invokeCommand", method: http.MethodPost, pattern: "digitaltwins/{device}/commands/{command}", run: (*handler).invokeCommand,
		permission: store.ServiceConnect, actions: actions{entra.SASOnly},
		throttle: throttle.DirectMethod, shares: methodShares, billing: billBoth,
	},
	{
		name: "invokeComponentCommand", method: http.MethodPost, pattern: "digitaltwins/{device}/components/{component}/commands/{command}", run: (*handler).invokeCommand,
		permission: store.ServiceConnect, actions: actions{entra.SASOnly},
		throttle: throttle.DirectMethod, shares: methodShares, billing: billBoth,
	},
	{
		name: "listConfigurations", method: http.MethodGet, pattern: "configurations", run: (*handler).listConfigurations,
		permission: readConfigurations, rights: configurationRights, actions: actions{entra.ConfigurationsRead},
		throttle: throttle.ConfigurationRead, billing: free,
	},
	{
		name: "getConfiguration", method: http.MethodGet, pattern: "configurations/{configuration}", run: (*handler).getConfiguration,
		permission: readConfigurations, rights: configurationRights, actions: actions{entra.ConfigurationsRead},
		throttle: throttle.ConfigurationRead, billing: free,
	},
	{
		name: "putConfiguration", method: http.MethodPut, pattern: "configurations/{configuration}", run: (*handler).putConfiguration,
		permission: writeConfigurations, rights: configurationRights, actions: actions{entra.ConfigurationsWrite},
		throttle: throttle.ConfigurationWrite, billing: free,
	},
	{
		name: "deleteConfiguration", method: http.MethodDelete, pattern: "configurations/{configuration}", run: (*handler).deleteConfiguration,
		permission: writeConfigurations, rights: configurationRights, actions: actions{entra.ConfigurationsDelete},
		throttle: throttle.ConfigurationWrite, billing: free,
	},
	{
		name: "testConfigurationQueries", method: http.MethodPost, pattern: "configurations/testQueries", run: (*handler).testConfigurationQueries,
		permission: readConfigurations, rights: configurationRights, actions: actions{entra.ConfigurationsTestQueries},
		throttle: throttle.ConfigurationRead, billing: free,
	},
	{
		name: "applyConfigurationContent", method: http.MethodPost, pattern: "devices/{device}/applyConfigurationContent", run: (*handler).applyConfigurationContent,
		permission: writeConfigurations, rights: configurationRights, actions: actions{entra.ConfigurationsApplyToEdge},
		throttle: throttle.ConfigurationWrite, billing: free,
	},
	{
		name: "sendEvent", method: http.MethodPost, pattern: "devices/{device}/messages/events", run: (*handler).sendEvent,
		permission: store.DeviceConnect, actions: actions{entra.SASOnly},
		throttle: throttle.DeviceSend, billing: billRequest,
	},
	{
		name: "receiveCommand", method: http.MethodGet, pattern: "devices/{device}/messages/deviceBound", run: (*handler).receiveCommand,
		permission: store.DeviceConnect, actions: actions{entra.SASOnly},
		throttle: throttle.CommandReceive, billing: billMessage,
	},
	{
		name: "completeCommand", method: http.MethodDelete, pattern: "devices/{device}/messages/deviceBound/{lock}", run: (*handler).completeCommand,
		permission: store.DeviceConnect, actions: actions{entra.SASOnly},
		throttle: throttle.CommandComplete, billing: free,
	},
	{
		name: "abandonCommand", method: http.MethodPost, pattern: "devices/{device}/messages/deviceBound/{lock}/abandon", run: (*handler).abandonCommand,
		permission: store.DeviceConnect, actions: actions{entra.SASOnly},
		throttle: throttle.CommandAbandon, billing: free,
	},
	{
		name: "listImportJobs", method: http.MethodGet, pattern: "jobs", run: (*handler).listImportJobs,
		permission: store.RegistryRead, rights: jobRights, actions: actions{entra.JobsRead},
		throttle: throttle.JobRead, billing: free,
	},
	{
		name: "createJob", method: http.MethodPut, pattern: "jobs/v2/{job}", run: (*handler).createJob,
		permission: store.RegistryWrite, rights: jobRights, actions: actions{entra.JobsWrite},
		throttle: throttle.JobWrite, billing: free,
	},
	{
		name: "getJob", method: http.MethodGet, pattern: "jobs/v2/{job}", run: (*handler).getJob,
		permission: store.RegistryRead, rights: jobRights, actions: actions{entra.JobsRead},
		throttle: throttle.JobRead, billing: free,
	},
	{
		name: "cancelJob", method: http.MethodPost, pattern: "jobs/v2/{job}/cancel", run: (*handler).cancelJob,
		permission: store.RegistryWrite, rights: jobRights, actions: actions{entra.JobsDelete},
		throttle: throttle.JobWrite, billing: free,
	},
	{
		name: "queryJobs", method: http.MethodGet, pattern: "jobs/v2/query", run: (*handler).queryJobs,
		permission: store.RegistryRead, rights: jobRights, actions: actions{entra.JobsRead},
		throttle: throttle.JobRead, billing: free,
	},
}
