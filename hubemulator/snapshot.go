package hubemulator

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"

// Snapshot is what a hub held at one moment: its devices and modules with keys, twins, etags, versions and queued
// messages, and its configurations. It costs little memory, and is for tests of what an application does when a hub is
// restored from an earlier state.
type Snapshot struct{ moment *store.Moment }

// Snapshot returns what the hub holds now. Its policies with their keys, jobs, counters and faults are not part of it.
func (s *Server) Snapshot() *Snapshot { return &Snapshot{s.store.Moment()} }

// Restore makes the hub what it was at a Snapshot; with ids, only these devices with their modules, and no
// configurations. What was not there then is deleted, and what was restored is disconnected; etags,
// versions and generation ids are those of then. Queries see that as late as any other change. It fails for a device
// that is neither there nor in the snapshot, and then changes nothing.
func (s *Server) Restore(snapshot *Snapshot, deviceIDs ...string) error {
	return s.store.Rewind(snapshot.moment, deviceIDs...)
}
