package throttle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The operation types that are not one of the service API's. A refusal names
// its operation type.
const (
	TwinRead      = "TwinRead"
	TwinUpdate    = "TwinUpdate"
	QueryTwins    = "QueryTwins"
	DeviceConnect = "DeviceConnect"
	DeviceSend    = "DeviceToCloudSend"
	DirectMethod  = "DirectMethod"
	CommandSend   = "CloudToDeviceSend"
	// CommandReceive is a device's request for a message, which no tier limits.
	CommandReceive = "CloudToDeviceReceive"
	JobDevice      = "JobDeviceOperation"
)

// class is a group of operation types that share one throttle.
type class int

const (
	unlimited class = iota
	twinReads
	twinUpdates
	queries
	registry
	connections
	deviceSends
	commands
	methods
	jobs
	jobDevices
	configurations
)

// classOf finds the throttle of an operation type. Reads and writes of the
// registry share one, and so do those of jobs and of configurations.
func classOf(operationType string) class {
	switch operationType {
	case TwinRead:
		return twinReads
	case TwinUpdate:
		return twinUpdates
	case QueryTwins:
		return queries
	case DeviceConnect:
		return connections
	case DeviceSend:
		return deviceSends
	case DirectMethod:
		return methods
	case CommandSend:
		return commands
	case JobDevice:
		return jobDevices
	}
	switch {
	case strings.HasPrefix(operationType, "Registry"):
		return registry
	case strings.HasPrefix(operationType, "Job"):
		return jobs
	case strings.HasPrefix(operationType, "Configuration"):
		return configurations
	}
	return unlimited
}

// limit is how many operations are allowed in how much time.
type limit struct {
	amount float64
	per    time.Duration
}

func perSecond(amount float64) limit { return limit{amount, time.Second} }
func perMinute(amount float64) limit { return limit{amount, time.Minute} }

// tier is a size of hub as IoT Hub sells it.
type tier struct {
	name     string
	maxUnits int
	// The daily quota, and what one message of it holds.
	messagesPerUnit int64
	messageSize     int
	activeJobs      int // how many jobs may be scheduled or running
	limits          func(units float64) map[class]limit
}

// The quotas, units, jobs and throttles are those that IoT Hub's documentation lists
// per tier; a free hub has the throttles of one S1 unit.
var tiers = [...]tier{
	{"F1", 1, 8_000, 512, 1, smallLimits},
	{"S1", 200, 400_000, fullMessage, 1, smallLimits},
	{"S2", 200, 6_000_000, fullMessage, 5, mediumLimits},
	{"S3", 10, 300_000_000, fullMessage, 10, largeLimits},
}

// fullMessage is how much payload one billed message holds on paid hubs, and
// the unit in which direct methods are throttled: 4 KB.
const fullMessage = 4096

func smallLimits(units float64) map[class]limit {
	return map[class]limit{
		twinReads:      perSecond(100),
		twinUpdates:    perSecond(50),
		queries:        perMinute(20 * units),
		registry:       perMinute(100 * units),
		connections:    perSecond(max(100, 12*units)),
		deviceSends:    perSecond(max(100, 12*units)),
		commands:       perMinute(100 * units),
		methods:        perSecond(40 * units), // 160 KB
		jobs:           perMinute(100 * units),
		jobDevices:     perSecond(10),
		configurations: perMinute(20 * units),
	}
}

func mediumLimits(units float64) map[class]limit {
	limits := smallLimits(units)
	limits[twinReads] = perSecond(max(100, 10*units))
	limits[twinUpdates] = perSecond(max(50, 5*units))
	limits[connections] = perSecond(120 * units)
	limits[deviceSends] = perSecond(120 * units)
	limits[methods] = perSecond(120 * units) // 480 KB
	limits[jobDevices] = perSecond(max(10, units))
	return limits
}

func largeLimits(units float64) map[class]limit {
	return map[class]limit{
		twinReads:      perSecond(500 * units),
		twinUpdates:    perSecond(250 * units),
		queries:        perMinute(1000 * units),
		registry:       perMinute(5000 * units),
		connections:    perSecond(6000 * units),
		deviceSends:    perSecond(6000 * units),
		commands:       perMinute(5000 * units),
		methods:        perSecond(6144 * units), // 24 MB
		jobs:           perMinute(5000 * units),
		jobDevices:     perSecond(50 * units),
		configurations: perMinute(20 * units),
	}
}

func findTier(name string, units int) (tier, error) {
	i := slices.IndexFunc(tiers[:], func(t tier) bool { return t.name == name })
	switch {
	case i < 0:
		return tier{}, fmt.Errorf("tier %q is unknown; use F1, S1, S2 or S3, or none for a hub without limits", name)
	case units < 1 || units > tiers[i].maxUnits:
		return tier{}, fmt.Errorf("%d units of tier %s cannot be had; use 1 to %d", units, name, tiers[i].maxUnits)
	}
	return tiers[i], nil
}
