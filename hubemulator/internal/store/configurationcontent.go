package store

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// checkSettable refuses content that no twin could take. Its errors are of type *Error.
func checkSettable(content configuration.Content) error {
	contents := []map[string]any{content.Device, content.Module}
	for _, name := range slices.Sorted(maps.Keys(content.Modules)) {
		contents = append(contents, content.Modules[name])
	}
	for _, one := range contents {
		wanted, _ := configuration.Compose([]map[string]any{one})
		if err := checkContent(wanted.Properties); err != nil {
			return contentProblem(err)
		}
	}
	return nil
}

// contentProblem gives a refusal the code that the hub has for configurations.
func contentProblem(err error) error {
	if refused, isRefusal := errors.AsType[*Error](err); isRefusal {
		return invalidContent(refused.Text)
	}
	return err
}

// desiredWrite is a change of one twin, worked out before it is made. Of a
// module that is not there yet, the entry is nil.
type desiredWrite struct {
	entry   *entry
	module  string
	next    twin
	wanted  twindoc.Change
	differs bool
}

// wants is what contents together want of a twin's desired properties, and
// which configuration wants a leaf, by its path; none without a configuration.
type wants struct {
	configuration.Desired
	authors map[string]twindoc.Author
}

// wantedBy finds the configurations in what was composed of their contents.
func wantedBy(desired configuration.Desired, ranked []ranked) wants {
	authors := make(map[string]twindoc.Author, len(desired.By))
	for path, i := range desired.By {
		authors[path] = authorOf(ranked[i].Configuration)
	}
	return wants{desired, authors}
}

// authorOf names a configuration as metadata does. The digest of those that
// were seen is a time before they were applied, in ticks; here it is that of the
// creation, since their content never changes afterwards.
func authorOf(c configuration.Configuration) twindoc.Author {
	return twindoc.Author{Configuration: c.ID, Digest: strconv.FormatInt(twindoc.Ticks(c.Created), 10)}
}

// planDesired works out what a configuration makes of a twin.
func (s *Store) planDesired(current twin, desired wants) (desiredWrite, error) {
	wanted, apply := twindoc.Change{Desired: desired.Properties}, patchTwin
	if desired.Whole {
		apply = replaceDesired
	}
	next, err := s.nextTwin(current, wanted, apply)
	if err == nil && len(desired.authors) > 0 {
		next.desired = next.desired.WrittenBy(desired.authors)
	}
	return desiredWrite{
		next: next, wanted: wanted,
		differs: !next.desired.Root().Equal(current.desired.Root()),
	}, err
}

// replaceDesired makes desired properties exactly what is wanted, and leaves
// tags alone.
func replaceDesired(t twin, wanted twindoc.Change, w twindoc.Write) twin {
	t.writes++
	t.desired = t.desired.Replaced(wanted.Desired, w, t.desired.Version()+1)
	return t
}

// edgePlan is what a deployment does to the modules of an edge device.
type edgePlan struct {
	writes  []desiredWrite
	created []string // besides those that are written
	dropped []*entry
}

// planModules works out what is to be written to the modules of an edge device,
// which of them to make, and which to drop: the twin of $edgeAgent says which
// modules there are.
func (s *Store) planModules(device *entry, contents map[string]wants) (edgePlan, error) {
	var plan edgePlan
	agent := device.modules[edgeAgent].twin
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		module, current := device.modules[name], freshModuleTwin()
		if module != nil {
			current = module.twin
		}
		write, err := s.planDesired(current, contents[name])
		if err != nil {
			return edgePlan{}, err
		}
		write.entry, write.module = module, name
		plan.writes = append(plan.writes, write)
		if name == edgeAgent {
			agent = write.next
		}
	}
	runs := agent.desired.Root().Object("modules")
	for _, name := range runs.Names() {
		if _, written := contents[name]; !written && device.modules[name] == nil {
			plan.created = append(plan.created, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(device.modules)) {
		module := device.modules[name]
		_, written := contents[name]
		stays := runs.Has(name)
		isManaged := module.identity.managedBy == managedByEdge && !module.identity.id.isSystemModule()
		if isManaged && !written && !stays {
			plan.dropped = append(plan.dropped, module)
		}
	}
	return plan, s.checkModuleNames(device, plan)
}

func (s *Store) checkModuleNames(device *entry, plan edgePlan) error {
	fresh := slices.Clone(plan.created)
	for _, write := range plan.writes {
		if write.entry == nil {
			fresh = append(fresh, write.module)
		}
	}
	for _, name := range fresh {
		id := ID{Device: device.identity.id.Device, Module: name}
		if err := id.check(); err != nil {
			return contentProblem(err)
		}
		if id.isSystemModule() {
			return invalidContent("'" + name + "' is no system module")
		}
	}
	if device.ownModules()+len(fresh)-len(plan.dropped) > maxModules {
		return tooManyModules(device.identity.id.Device)
	}
	return nil
}

// makeModules does what was planned. It returns how many twins it wrote; with
// onlyDifferent, it leaves those alone that hold what is wanted. It runs in
// locked.
func (s *Store) makeModules(device *entry, plan edgePlan, onlyDifferent bool) int {
	for _, module := range plan.dropped {
		s.drop(module)
	}
	for _, name := range plan.created {
		s.addEdgeModule(device, name)
	}
	written := 0
	for _, write := range plan.writes {
		if write.entry == nil {
			write.entry = s.addEdgeModule(device, write.module)
		}
		if write.differs || !onlyDifferent {
			s.setTwin(write.entry, write.next, write.wanted)
			written++
		}
	}
	return written
}

// ApplyConfigurationContent writes a configuration's content to an edge device
// and its modules once, without a configuration. Either all of it is written or
// nothing.
func (s *Store) ApplyConfigurationContent(deviceID string, body []byte) error {
	var content configuration.Content
	if err := parseJSON(body, &content); err != nil {
		return err
	}
	err := configuration.CheckModules(content.Modules)
	if err == nil {
		err = configuration.CheckDevice(content.Device)
	}
	if err == nil {
		err = checkSettable(content)
	}
	if err != nil {
		return configurationRefusal(err)
	}
	if content.Module != nil {
		return invalidContent("'moduleContent' is for configurations; here modulesContent says what each module gets")
	}
	return s.locked(func() error {
		device, err := s.find(ID{Device: deviceID})
		if err != nil {
			return err
		}
		if !device.identity.iotEdge {
			return &Error{http.StatusBadRequest, 400004, "ArgumentInvalid", "Not an Azure IoT Edge device"}
		}
		return s.applyContent(device, content)
	})
}

func (s *Store) applyContent(device *entry, content configuration.Content) error {
	modules := map[string]wants{}
	for name, one := range content.Modules {
		desired, _ := configuration.Compose([]map[string]any{one})
		modules[name] = wants{Desired: desired}
	}
	plan, err := s.planModules(device, modules)
	if err != nil {
		return err
	}
	if len(content.Device) > 0 {
		desired, _ := configuration.Compose([]map[string]any{content.Device})
		desired.Whole = false
		write, err := s.planDesired(device.twin, wants{Desired: desired})
		if err != nil {
			return err
		}
		s.setTwin(device, write.next, write.wanted)
	}
	s.makeModules(device, plan, false)
	return nil
}
