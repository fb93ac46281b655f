// Package gcfloor keeps a process whose heap is small from collecting garbage all the time. The runtime collects
// whenever as much was allocated as lives: with ten megabytes alive, and a rollout that allocates hundreds in a second, a
// third of the CPU went there.
package gcfloor

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// byDefault is the runtime's GOGC: as much may be allocated between two collections as lives.
	byDefault = 100
	// liveHeap is what the last collection found alive, in bytes.
	liveHeap = "/gc/heap/live:bytes"
)

// Hold lets at least so many bytes be allocated between two collections, and more where more lives, as the
// runtime does by default. A memory limit (GOMEMLIMIT) comes before it, and so does GOGC in the environment: then it
// does nothing. It is for a main function, as it concerns the whole process.
func Hold(bytes uint64) {
	if os.Getenv("GOGC") == "" {
		after(bytes, byDefault)
	}
}

// collected is garbage at once, and so tells of the next collection. It is too large for the runtime to allocate it
// together with what lives longer.
type collected [64]byte

// after adjusts GOGC now, and after each collection.
func after(bytes uint64, before int) {
	now := percent(bytes, live())
	if now != before {
		debug.SetGCPercent(now)
	}
	runtime.AddCleanup(new(collected), func(now int) { after(bytes, now) }, now)
}

func live() uint64 {
	sample := []metrics.Sample{{Name: liveHeap}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// percent of what lives, as GOGC has it, that come to at least so many bytes.
func percent(bytes, live uint64) int {
	// The runtime's own least heap is 4 MB.
	live = max(live, 4<<20)
	return int(min(max(byDefault, byDefault*bytes/live), math.MaxInt32))
}
