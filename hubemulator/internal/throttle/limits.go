package throttle

import (
	"fmt"
	"slices"
	"time"
)

// Type is the type of an operation, which its throttle goes by and a refusal
// names. The zero value is none.
type Type int

// The operation types.
const (
	TwinRead Type = iota + 1
	TwinUpdate
	QueryTwins
	DirectMethod
	RegistryRead
	RegistryWrite
	JobRead
	JobWrite
	// JobDevice is what a job does to one device.
	JobDevice
	ConfigurationRead
	ConfigurationWrite
	DeviceConnect
	DeviceSend
	CommandSend
	CommandReceive
	CommandComplete
	CommandAbandon
	PurgeCommands
)

// types are the names of the operation types and their throttles. Reads and
// writes of the registry share one, and so do those of jobs and of
// configurations.
var types = [...]struct {
	name  string
	class class
}{
	TwinRead:           {"TwinRead", twinReads},
	TwinUpdate:         {"TwinUpdate", twinUpdates},
	QueryTwins:         {"QueryTwins", queries},
	DirectMethod:       {"DirectMethod", methods},
	RegistryRead:       {"RegistryRead", registry},
	RegistryWrite:      {"RegistryWrite", registry},
	JobRead:            {"JobRead", jobs},
	JobWrite:           {"JobWrite", jobs},
	JobDevice:          {"JobDeviceOperation", jobDevices},
	ConfigurationRead:  {"ConfigurationRead", configurations},
	ConfigurationWrite: {"ConfigurationWrite", configurations},
	DeviceConnect:      {"DeviceConnect", connections},
	DeviceSend:         {"DeviceToCloudSend", deviceSends},
	CommandSend:        {"CloudToDeviceSend", commands},
	CommandReceive:     {"CloudToDeviceReceive", unlimited},
	CommandComplete:    {"CloudToDeviceComplete", unlimited},
	CommandAbandon:     {"CloudToDeviceAbandon", unlimited},
	PurgeCommands:      {"PurgeCommands", unlimited},
}

func (t Type) String() string { return types[t].name }

// class is a throttle, which several operation types may share.
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
