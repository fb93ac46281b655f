// Package store holds the identities and twins of one emulated IoT Hub in
// memory, and applies the hub's rules to every change of them.
package store

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Options says which hub a Store stands for.
type Options struct {
	// HostNames are the names and addresses the hub is known by, without
	// ports. A token's audience must be one of them.
	HostNames []string
	// Clock tells the time for tokens and timestamps.
	Clock clock.PassiveClock
}

// Store is one hub's registry. It is safe for concurrent use.
type Store struct {
	clock     clock.PassiveClock
	hostNames []string
	policies  []Policy

	mu           sync.Mutex
	devices      map[string]*device
	nextIdentity uint64 // the next identity etag counter
	lastTicks    int64  // the newest generation id handed out
}

// device is one registered device: its identity, its twin, and the session it
// is connected with, if any.
type device struct {
	identity identity
	twin     twin
	session  *Session
}

// New returns an empty hub with the five policies every IoT Hub starts with.
func New(opts Options) *Store {
	hostNames := make([]string, 0, len(opts.HostNames))
	for _, name := range opts.HostNames {
		hostNames = append(hostNames, strings.ToLower(name))
	}
	return &Store{
		clock:     opts.Clock,
		hostNames: hostNames,
		policies:  defaultPolicies(),
		devices:   map[string]*device{},
		// A hub's identity etags start somewhere, not at one.
		nextIdentity: firstIdentity(),
	}
}

func (s *Store) find(deviceID string) (*device, error) {
	d, found := s.devices[deviceID]
	if !found {
		return nil, deviceNotFound(deviceID)
	}
	return d, nil
}

// DeviceIDs lists all devices in the order of their ids, which is the order
// that lists and queries are answered in.
func (s *Store) DeviceIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sortedIDs()
}

func (s *Store) sortedIDs() []string {
	return slices.Sorted(maps.Keys(s.devices))
}

// identityEtag returns the etag of the next write of any identity: base64 of
// a decimal counter.
func (s *Store) identityEtag() string {
	s.nextIdentity++
	return base64.StdEncoding.EncodeToString(strconv.AppendUint(nil, s.nextIdentity, 10))
}

// ticksAtUnixEpoch is the number of 100 ns intervals from the year 1 to 1970.
const ticksAtUnixEpoch = 621355968000000000

// generationID tells two devices apart that had the same id one after the
// other: the time of creation in ticks of 100 ns, never handed out twice.
func (s *Store) generationID(now time.Time) string {
	ticks := now.UnixNano()/100 + ticksAtUnixEpoch
	s.lastTicks = max(ticks, s.lastTicks+1)
	return fmt.Sprintf("%018d", s.lastTicks)
}

// firstIdentity is a nine-digit number, drawn anew for each hub.
func firstIdentity() uint64 {
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
