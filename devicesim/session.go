package devicesim

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
)

// reorderWindow is how long a desired update that overtook another waits for
// it before the whole twin is read again.
const reorderWindow = 500 * time.Millisecond

// session is the device's behaviour for the length of one connection. All of
// it runs in the goroutine of Run.
type session struct {
	dev  *Device
	conn *connection

	waiting map[int64]section // updates that overtook another, by $version
	timer   clock.Timer       // runs while something is waiting, else nil
}

// connectOnce plays the device for the length of one connection and says why
// it ended.
func (d *Device) connectOnce(ctx context.Context) error {
	ctx, conn := newConnection(ctx, d)
	defer conn.cancel(nil)
	if err := conn.open(ctx); err != nil {
		return err
	}
	creds := d.target.creds
	d.emit(Event{Kind: EventConnected, HostName: creds.HostName, DeviceID: creds.DeviceID})
	s := &session{dev: d, conn: conn, waiting: map[int64]section{}}
	err := s.play(ctx)
	if leaveErr := conn.leave(); leaveErr != nil {
		d.opts.Logger.Warn("cannot leave the hub cleanly", "error", leaveErr)
	}
	d.emit(Event{Kind: EventDisconnected})
	return err
}

func (s *session) play(ctx context.Context) error {
	if err := s.conn.subscribe(ctx); err != nil {
		return err
	}
	defer s.stopTimer()
	// The subscription comes first, so that no change is lost between the two.
	desired, reported, err := s.conn.readTwin(ctx)
	if err != nil {
		return err
	}
	s.dev.state.reported = reported
	if err := s.takeDesired(desired); err != nil {
		return err
	}
	if err := s.reportConnectivity(ctx); err != nil {
		return err
	}
	for {
		if err := s.acknowledge(ctx); err != nil {
			return err
		}
		if err := s.next(ctx); err != nil {
			return err
		}
	}
}

// next waits for something to happen and takes it in.
func (s *session) next(ctx context.Context) error {
	var gap <-chan time.Time
	if s.timer != nil {
		gap = s.timer.C()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case payload := <-s.conn.updates:
		update, err := parseSection(payload)
		if err != nil {
			return fmt.Errorf("desired update: %w", err)
		}
		s.waiting[update.version] = update
		return s.applyWaiting()
	case <-gap:
		return s.reread(ctx)
	}
}

// reread fetches the whole twin because an update did not arrive.
func (s *session) reread(ctx context.Context) error {
	s.stopTimer()
	desired, reported, err := s.conn.readTwin(ctx)
	if err != nil {
		return err
	}
	s.dev.state.reported = reported
	if desired.version > s.dev.state.desired.version {
		if err := s.takeDesired(desired); err != nil {
			return err
		}
	}
	return s.applyWaiting()
}

// applyWaiting applies the updates that follow on what is known, in the order
// of their versions, and forgets those that are known already.
func (s *session) applyWaiting() error {
	state := &s.dev.state
	for version := range s.waiting {
		if version <= state.desired.version {
			delete(s.waiting, version)
		}
	}
	for {
		update, found := s.waiting[state.desired.version+1]
		if !found {
			break
		}
		delete(s.waiting, update.version)
		next, err := state.updatedDesired(update)
		if err != nil {
			return fmt.Errorf("desired update %d: %w", update.version, err)
		}
		if err := s.takeDesired(next); err != nil {
			return err
		}
	}
	if len(s.waiting) == 0 {
		s.stopTimer()
	} else if s.timer == nil {
		s.timer = s.dev.opts.Clock.NewTimer(reorderWindow)
	}
	return nil
}

func (s *session) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

func (s *session) takeDesired(next section) error {
	changes, err := s.dev.state.setDesired(next)
	if err != nil {
		return fmt.Errorf("desired properties: %w", err)
	}
	for _, c := range changes {
		s.dev.emit(Event{Kind: EventDesired, Property: c.property, Value: c.value, Version: next.version})
	}
	return nil
}

// reportConnectivity reports to the hub how the device is connected, unless the hub
// knows: every report counts against the device's and the hub's limits.
func (s *session) reportConnectivity(ctx context.Context) error {
	want := s.dev.opts.Connectivity
	if want == "" || s.dev.state.reported.properties[connectivityProperty] == want {
		return nil
	}
	_, err := s.report(ctx, map[string]any{connectivityProperty: want})
	return err
}

// acknowledge repeats the desired properties in the reported ones, where they
// differ.
func (s *session) acknowledge(ctx context.Context) error {
	patch, err := s.dev.state.acknowledgement()
	if err != nil {
		return fmt.Errorf("acknowledge desired properties: %w", err)
	}
	if len(patch) > 0 {
		if accepted, err := s.report(ctx, patch); err != nil || !accepted {
			return err
		}
	}
	s.dev.state.setAcknowledged()
	return nil
}

// report sends a report and tells whether the hub accepted it. It fails only
// when the connection is lost: a report that the hub refuses is not repeated
// until something changes.
func (s *session) report(ctx context.Context, patch map[string]any) (accepted bool, err error) {
	payload, err := compact(patch)
	if err != nil {
		return false, err
	}
	version, err := s.conn.report(ctx, payload)
	if err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		s.dev.opts.Logger.Error("the hub did not accept a report", "properties", string(payload), "error", err)
		return false, nil
	}
	s.dev.emit(Event{Kind: EventReported, Value: payload, Version: version})
	return true, s.dev.state.setReported(patch, version)
}
