package main

import (
	"fmt"
	"syscall"
)

// otherFiles is room for what is open besides the connections.
const otherFiles = 100

// allowFiles raises the limit on open files, of this process and those that it
// starts from here on, so that there may be so many connections.
func allowFiles(connections int) error {
	needed := uint64(connections + otherFiles) //nolint:gosec // a number of connections is not negative
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("the limit on open files: %w", err)
	}
	if limit.Max < needed {
		return fmt.Errorf("%d connections need %d open files and this process may have %d at most: "+
			"raise the hard limit (ulimit -Hn), or measure with a smaller --fleet", connections, needed, limit.Max)
	}
	limit.Cur = max(limit.Cur, needed)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit on open files to %d: %w", needed, err)
	}
	return nil
}
