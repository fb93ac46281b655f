package hubemulator

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// maxFleet is how many devices and modules IoT Hub has room for.
const maxFleet = 1_000_000

// fleetImport goes through a fleet once.
type fleetImport struct {
	store   *store.Store
	named   map[store.ID]bool // what the fleet, or Options.Devices, had so far
	waiting [][]store.Import  // devices whose parent was not there yet
	kept    int               // how many the hub had already
}

// importFleet creates what is not there yet. When it fails, the hub is of no
// use.
func (s *Server) importFleet(fleet *Fleet) error {
	run := fleetImport{store: s.store, named: map[store.ID]bool{}}
	for _, deviceID := range s.opts.Devices {
		run.named[store.ID{Device: deviceID}] = true
	}
	err := fleet.checkSize()
	if err == nil {
		err = run.devices(fleet.Devices)
	}
	if err == nil {
		err = run.orphans()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(fleet.source, "the fleet"), err)
	}
	if run.kept > 0 {
		s.opts.Logger.Info("The hub had some of the fleet already and left them as they are", "devicesAndModules", run.kept)
	}
	return nil
}

// checkSize comes before anything is created: a count is soon mistyped.
func (f *Fleet) checkSize() error {
	size := 0
	for _, device := range f.Devices {
		// Each is compared by itself: the sum of two could be beyond an int.
		if device.Count > maxFleet {
			size = device.Count
			break
		}
		size += max(device.Count, 1) * (1 + len(device.Modules))
	}
	if size > maxFleet {
		return fmt.Errorf("a hub has room for %d devices and modules", maxFleet)
	}
	return nil
}

func (f *fleetImport) devices(devices []FleetDevice) error {
	for _, device := range devices {
		template, err := newTemplate(device)
		if err != nil {
			return fmt.Errorf("device %q: %w", device.ID, err)
		}
		for n := range max(device.Count, 1) {
			numbered := template.numbered(n + 1)
			for _, one := range numbered {
				if err := f.name(one.ID); err != nil {
					return err
				}
			}
			err := f.create(numbered)
			if errors.Is(err, store.ErrNoParent) {
				f.waiting = append(f.waiting, numbered)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// name refuses an id that was there before.
func (f *fleetImport) name(id store.ID) error {
	if f.named[id] {
		return fleetError(id, errors.New("id: it is there twice"))
	}
	f.named[id] = true
	return nil
}

// create makes a device and its modules.
func (f *fleetImport) create(device []store.Import) error {
	for _, one := range device {
		if f.store.Has(one.ID) {
			f.kept++
		} else if err := f.store.Import(one); err != nil {
			return fleetError(one.ID, err)
		}
	}
	return nil
}

// orphans creates the devices that came before their parents.
func (f *fleetImport) orphans() error {
	for len(f.waiting) > 0 {
		waiting := f.waiting
		f.waiting = nil
		for _, device := range waiting {
			err := f.create(device)
			if errors.Is(err, store.ErrNoParent) {
				f.waiting = append(f.waiting, device)
			} else if err != nil {
				return err
			}
		}
		if len(f.waiting) == len(waiting) {
			first := f.waiting[0][0]
			if f.named[store.ID{Device: first.Parent}] {
				return fleetError(first.ID, errors.New("parent: the parents go round in a circle"))
			}
			return fleetError(first.ID, fmt.Errorf("parent: device %q: %w", first.Parent, store.ErrNoParent))
		}
	}
	return nil
}

func fleetError(id store.ID, err error) error {
	if id.Module != "" {
		return fmt.Errorf("device %q, module %q: %w", id.Device, id.Module, err)
	}
	return fmt.Errorf("device %q: %w", id.Device, err)
}
