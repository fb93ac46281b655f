package main

import (
	"context"
	"errors"
	"os"
	"time"
)

var errOrphaned = errors.New("the process that started the demo is gone")

// stopWithParent calls the demo off when its parent dies: `go run` and make
// pass an interrupt on, but not a SIGTERM.
func stopWithParent(callOff context.CancelCauseFunc) {
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
