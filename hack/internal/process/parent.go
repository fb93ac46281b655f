package process

import (
	"context"
	"errors"
	"os"
	"time"
)

var errOrphaned = errors.New("the process that started this one is gone")

// StopWithParent calls everything off when this process's parent dies: `go run` and make
// pass an interrupt on, but not a SIGTERM.
func StopWithParent(callOff context.CancelCauseFunc) {
	parent := os.Getppid()
	go func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for range ticker.C {
			if os.Getppid() != parent {
				callOff(errOrphaned)
				return
			}
		}
	}()
}
