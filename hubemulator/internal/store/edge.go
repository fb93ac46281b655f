package store

import (
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// edgeAgent is the system module whose twin says what runs on an edge device.
const edgeAgent = "$edgeAgent"

// systemModules are the modules of every edge device: the hub makes them.
var systemModules = [...]string{edgeAgent, "$edgeHub"}

// managedByEdge is what the identities of modules say that the hub made.
const managedByEdge optional = "iotEdge"

// isSystemModule reports whether the id is of the hub's own kind.
func (id ID) isSystemModule() bool { return strings.HasPrefix(id.Module, "$") }

// fitSystemModules gives an edge device its system modules, and takes them
// from a device that is none or no more. It runs in locked.
func (s *Store) fitSystemModules(device *entry) {
	for _, name := range systemModules {
		found := device.modules[name]
		switch {
		case device.identity.iotEdge && found == nil:
			s.addEdgeModule(device, name)
		case !device.identity.iotEdge && found != nil:
			s.drop(found)
		}
	}
}

// addEdgeModule registers a module as the hub itself does: without keys.
func (s *Store) addEdgeModule(device *entry, name string) *entry {
	id, now := ID{Device: device.identity.id.Device, Module: name}, s.clock.Now()
	added := &entry{Snapshot: &Snapshot{
		identity: identity{
			id: id, generation: s.generation(now), writes: firstWrite(), status: statusEnabled,
			auth: authentication{Type: authNone}, managedBy: managedByEdge,
		},
		twin: freshModuleTwin(),
	}}
	device.addModule(added)
	s.added(added)
	return added
}

func freshModuleTwin() twin {
	return twin{writes: 1, desired: twindoc.NewSection(time.Time{}), reported: twindoc.NewSection(time.Time{})}
}

// ownModules is how many modules a device has besides system modules.
func (d *entry) ownModules() int {
	own := 0
	for _, module := range d.modules {
		if !module.identity.id.isSystemModule() {
			own++
		}
	}
	return own
}

// keysOf are the keys that a device or module may sign with. System modules
// have none of their own and sign with their device's.
func (s *Store) keysOf(d *entry) []string {
	if id := d.identity.id; id.isSystemModule() {
		return s.devices[id.Device].identity.auth.keys()
	}
	return d.identity.auth.keys()
}
