package process

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Usage is what a process takes of the machine, by the kernel's account.
type Usage struct {
	// CPU is the time that it has used so far, in user and kernel mode.
	CPU time.Duration
	// RSS is the memory that it occupies now, in bytes.
	RSS int
}

// UsageOf asks the kernel about the process of a number.
func UsageOf(pid int) (Usage, error) {
	found, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}, fmt.Errorf("memory and CPU time are read from /proc, as on Linux: %w", err)
	}
	stat, err := found.Stat()
	if err != nil {
		return Usage{}, fmt.Errorf("read the memory and CPU time of process %d: %w", pid, err)
	}
	return Usage{CPU: time.Duration(stat.CPUTime() * float64(time.Second)), RSS: stat.ResidentMemory()}, nil
}
