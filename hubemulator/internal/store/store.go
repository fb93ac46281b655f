// Package store holds the identities and twins of one emulated IoT Hub in
// memory, and applies the hub's rules to every change of them.
package store

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// Options says which hub a Store stands for.
type Options struct {
	// HostNames are the names and addresses the hub is known by, without
	// ports. A token's audience must be one of them.
	HostNames []string
	// DeviceCAs are the authorities that devices may have certificates from;
	// nil for none.
	DeviceCAs *x509.CertPool
	// DisableLocalAuth makes the keys of the hub's policies good for nothing.
	DisableLocalAuth bool
	// Clock tells the time for tokens and timestamps.
	Clock clock.PassiveClock
	// QueryLag is how late queries see what happens to twins.
	QueryLag time.Duration
	// QueryGhosts is how long queries go on to see a deleted twin.
	QueryGhosts time.Duration
	// Choices settle what IoT Hub leaves open.
	Choices Choices
	// MaxConfigurations is how many configurations the hub may hold; 0 means as
	// many as a paid IoT Hub.
	MaxConfigurations int
}

// Store is one hub's registry. It is safe for concurrent use.
type Store struct {
	clock     clock.PassiveClock
	hostNames []string
	policies  []Policy
	deviceCAs *x509.CertPool
	choices   Choices
	common    *twindoc.Common
	keyless   bool // whether the policies' keys are good for nothing

	maxConfigurations     int
	configurationsWritten chan struct{}
	evaluating            sync.Mutex // held while configurations are evaluated; taken before mu

	mu        sync.Mutex
	past      *past // nil when queries see what there is now
	devices   map[string]*entry
	index     index[*entry] // devices and modules, in order
	lastTicks ticks         // the newest generation handed out
	revision  uint64        // moves with every change of what is saved
	notified  []*Session    // sessions with calls to make once the lock is free

	configurations map[string]configuration.Configuration
}

// entry is one registered device or module: its identity, its twin, and the
// session it is connected with, if any.
type entry struct {
	// Snapshot is what it is now. It is replaced by every change and never changed
	// itself, so that queries and answers have it without a copy: see edit.
	*Snapshot
	session *Session
	modules map[string]*entry // of a device

	commands      commandQueue    // of a device
	subscriptions map[string]byte // that outlive a connection: QoS by filter
	methodsServed chan struct{}   // closed when direct methods can be called; nil when no call waits
}

// edit gives the entry a snapshot of its own, which the caller may change until the
// lock is let go, or the entry is told to have changed.
func (d *entry) edit() *Snapshot {
	d.Snapshot = new(*d.Snapshot)
	return d.Snapshot
}

func (d *entry) addModule(module *entry) {
	if d.modules == nil {
		d.modules = map[string]*entry{}
	}
	d.modules[module.identity.id.Module] = module
}

// New returns an empty hub with the five policies every IoT Hub starts with.
func New(opts Options) *Store {
	hostNames := make([]string, 0, len(opts.HostNames))
	for _, name := range opts.HostNames {
		hostNames = append(hostNames, strings.ToLower(name))
	}
	return &Store{
		clock:     opts.Clock,
		past:      newPast(opts.QueryLag, opts.QueryGhosts),
		hostNames: hostNames,
		policies:  defaultPolicies(),
		deviceCAs: opts.DeviceCAs,
		choices:   opts.Choices,
		common:    twindoc.NewCommon(),
		keyless:   opts.DisableLocalAuth,
		devices:   map[string]*entry{},
		index:     newIndex[*entry](),

		maxConfigurations:     cmp.Or(opts.MaxConfigurations, maxConfigurations),
		configurationsWritten: make(chan struct{}, 1),
		configurations:        map[string]configuration.Configuration{},
	}
}

// locked runs one change of the hub, and then the calls to sessions that the
// change came to, without the lock.
func (s *Store) locked(change func() error) error {
	s.mu.Lock()
	err := change()
	notified := s.notified
	s.notified = nil
	s.mu.Unlock()
	for _, session := range notified {
		session.deliver()
	}
	return err
}

// find returns the device or module with that id.
func (s *Store) find(id ID) (*entry, error) {
	if found := s.lookup(id); found != nil {
		return found, nil
	}
	// The hub has one answer for a missing device and a missing module.
	return nil, deviceNotFound(id.Device)
}

// lookup is find for callers with another opinion on what is missing.
func (s *Store) lookup(id ID) *entry {
	device := s.devices[id.Device]
	if device == nil || id.Module == "" {
		return device
	}
	return device.modules[id.Module]
}

func (s *Store) now() ticks { return ticksOf(s.clock.Now()) }

// generation is a new one for a device or module that is created.
func (s *Store) generation(now time.Time) ticks {
	s.lastTicks = max(ticksOf(now), s.lastTicks+1)
	return s.lastTicks
}

// firstWrite is where an identity's counter of writes starts: somewhere among
// the nine-digit numbers, not at one.
func firstWrite() uint64 {
	var random [8]byte
	_, _ = rand.Read(random[:]) // as for keys
	return 100_000_000 + binary.BigEndian.Uint64(random[:])%800_000_000
}

// mintKey returns a fresh symmetric key. The hub's own keys are 32 bytes long.
func mintKey() string {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails: it ends the process if the system has no randomness
	return base64.StdEncoding.EncodeToString(key[:])
}
