// Package state keeps what a hub knows in a file, so that the hub is the same
// one after a restart. It knows the file, and nothing of what is in it.
package state

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Interval is the longest time that a change goes unsaved, on a hub whose
// saving takes no time to speak of.
const Interval = 2 * time.Second

// idle is how much longer than saving the pauses between are, at least: a hub
// with very many devices shall not do nothing else.
const idle = 10

// Keeper saves the parts of a hub whenever they have changed.
type Keeper struct {
	File   *File
	Parts  []Part
	Clock  clock.Clock
	Logger *slog.Logger

	mu     sync.Mutex
	saved  uint64 // the revision that the file has
	known  bool   // whether saved means anything
	closed bool
}

// Load restores the parts from the file, if there is one.
func (k *Keeper) Load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, err := k.File.Load(k.Parts)
	k.saved, k.known = k.revision(), found
	return err
}

// revision moves when that of any part does, since none ever goes back.
func (k *Keeper) revision() uint64 {
	var sum uint64
	for _, part := range k.Parts {
		sum += part.Revision()
	}
	return sum
}

// Save writes the file, unless nothing has changed since it was written.
// After Close it does nothing.
func (k *Keeper) Save() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	return k.save()
}

func (k *Keeper) save() error {
	// Changes that come while the file is written are for the next time.
	revision := k.revision()
	if k.known && revision == k.saved {
		return nil
	}
	if err := k.File.Save(k.Parts); err != nil {
		return err
	}
	k.saved, k.known = revision, true
	return nil
}

// Run saves from time to time until ctx ends. What cannot be saved is tried
// again.
func (k *Keeper) Run(ctx context.Context) {
	pause := Interval
	for {
		timer := k.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		started := k.Clock.Now()
		if err := k.Save(); err != nil {
			k.Logger.Error("The hub's state could not be saved", "error", err)
		}
		pause = max(Interval, idle*k.Clock.Since(started))
	}
}

// Close saves a last time and lets go of the file.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return errors.Join(k.save(), k.File.Close())
}
