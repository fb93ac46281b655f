// Package entra decides what bearers of Microsoft Entra ID's access tokens may
// do on an emulated IoT Hub.
package entra

import "slices"

// Action is a data action of IoT Hub: what an operation of its service API
// takes, and roles grant. The names are those that IoT Hub documents.
type Action string

// The data actions of IoT Hub.
const (
	DevicesRead   Action = "Microsoft.Devices/IotHubs/devices/read"
	DevicesWrite  Action = "Microsoft.Devices/IotHubs/devices/write"
	DevicesDelete Action = "Microsoft.Devices/IotHubs/devices/delete"

	TwinsRead  Action = "Microsoft.Devices/IotHubs/twins/read"
	TwinsWrite Action = "Microsoft.Devices/IotHubs/twins/write"

	JobsRead   Action = "Microsoft.Devices/IotHubs/jobs/read"
	JobsWrite  Action = "Microsoft.Devices/IotHubs/jobs/write"
	JobsDelete Action = "Microsoft.Devices/IotHubs/jobs/delete"

	CommandsSend     Action = "Microsoft.Devices/IotHubs/cloudToDeviceMessages/send/action"
	CommandsFeedback Action = "Microsoft.Devices/IotHubs/cloudToDeviceMessages/feedback/action"
	CommandsPurge    Action = "Microsoft.Devices/IotHubs/cloudToDeviceMessages/queue/purge/action"

	MethodsInvoke       Action = "Microsoft.Devices/IotHubs/directMethods/invoke/action"
	UploadNotifications Action = "Microsoft.Devices/IotHubs/fileUpload/notifications/action"
	StatisticsRead      Action = "Microsoft.Devices/IotHubs/statistics/read"

	ConfigurationsRead        Action = "Microsoft.Devices/IotHubs/configurations/read"
	ConfigurationsWrite       Action = "Microsoft.Devices/IotHubs/configurations/write"
	ConfigurationsDelete      Action = "Microsoft.Devices/IotHubs/configurations/delete"
	ConfigurationsApplyToEdge Action = "Microsoft.Devices/IotHubs/configurations/applyToEdgeDevice/action"
	ConfigurationsTestQueries Action = "Microsoft.Devices/IotHubs/configurations/testQueries/action"
)

// SASOnly stands in for the action of an operation that takes no Entra token
// at all: no role grants it.
const SASOnly Action = "shared access signatures only"

var actions = [...]Action{
	DevicesRead, DevicesWrite, DevicesDelete, TwinsRead, TwinsWrite, JobsRead, JobsWrite, JobsDelete,
	CommandsSend, CommandsFeedback, CommandsPurge, MethodsInvoke, UploadNotifications, StatisticsRead,
	ConfigurationsRead, ConfigurationsWrite, ConfigurationsDelete, ConfigurationsApplyToEdge, ConfigurationsTestQueries,
}

// Known reports whether a role can grant the action.
func (a Action) Known() bool { return slices.Contains(actions[:], a) }
