package hubemulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/certificate"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/state"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// kept is what a hub knows of its data directory.
type kept struct {
	keeper *state.Keeper // nil when nothing outlives the hub
	// certificates are those that were found there; renewed is 1 when the hub
	// has made others.
	certificates certificate.Keys
	renewed      uint64
	// issuer is what was found of the hub's own issuer, or what it has now, if
	// there is one; issuerRenewed is 1 when that differs.
	issuer        issuer.Secrets
	issuerRenewed uint64
}

// parts are what of a hub outlives it. Whatever the hub learns to keep gets a
// part here; a part that others refer to comes before them.
func (s *Server) parts() []state.Part {
	return []state.Part{
		one("certificates", func() uint64 { return s.kept.renewed },
			func() certificate.Keys { return s.identity.Keys }, s.restoreCertificates),
		each("issuer", func() uint64 { return s.kept.issuerRenewed }, s.savedIssuer, s.restoreIssuer),
		one("hub", s.store.Revision, s.store.SavedHub, s.store.RestoreHub),
		each("configurations", s.store.Revision, s.store.SavedConfigurations, s.store.RestoreConfiguration),
		each("devices", s.store.Revision, s.store.Saved, s.store.Restore),
		each("jobs", s.jobs.Revision, s.jobs.Saved, s.jobs.Restore),
	}
}

// each makes a part of many records.
func each[T any](name string, revision func() uint64, saved func() iter.Seq[T], restore func(T) error) state.Part {
	return state.Part{
		Name: name, Revision: revision,
		Saved: func() iter.Seq[any] {
			return func(yield func(any) bool) {
				for record := range saved() {
					if !yield(record) {
						return
					}
				}
			}
		},
		Restore: func(text json.RawMessage) error {
			var record T
			if err := state.Decode(text, &record); err != nil {
				return err
			}
			return restore(record)
		},
	}
}

// one makes a part of a single record.
func one[T any](name string, revision func() uint64, saved func() T, restore func(T) error) state.Part {
	return each(name, revision, func() iter.Seq[T] {
		return func(yield func(T) bool) { yield(saved()) }
	}, restore)
}

func (s *Server) restoreCertificates(found certificate.Keys) error {
	s.kept.certificates = found
	return found.Check()
}

func (s *Server) restoreIssuer(found issuer.Secrets) error {
	s.kept.issuer = found
	return found.Check()
}

// savedIssuer yields the secrets of the hub's own issuer, also when this run
// has none.
func (s *Server) savedIssuer() iter.Seq[issuer.Secrets] {
	return func(yield func(issuer.Secrets) bool) {
		if s.kept.issuer != (issuer.Secrets{}) {
			yield(s.kept.issuer)
		}
	}
}

// keepIssuer remembers the secrets of the issuer that the hub has now.
func (s *Server) keepIssuer(now issuer.Secrets) {
	if now != s.kept.issuer {
		s.kept.issuer, s.kept.issuerRenewed = now, 1
	}
}

// addIdentity makes what the server proves itself with, of what was kept if
// possible.
func (s *Server) addIdentity(names []string) error {
	var err error
	if s.identity, err = certificate.Renew(s.kept.certificates, "hubemulator CA", names); err != nil {
		return err
	}
	if s.identity.Keys != s.kept.certificates {
		s.kept.renewed = 1
	}
	return nil
}

// openDataDir takes the data directory, if there is one, and makes the hub what
// it was there.
func (s *Server) openDataDir() error {
	if s.opts.DataDir == "" {
		return nil
	}
	if err := os.MkdirAll(s.opts.DataDir, 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be used: %w", err)
	}
	if !s.opts.Ephemeral {
		file, err := state.Open(s.opts.DataDir)
		if err != nil {
			return err
		}
		s.kept.keeper = &state.Keeper{File: file, Parts: s.parts(), Clock: s.opts.Clock, Logger: s.opts.Logger}
	}
	// A process that waits for this file shall not find that of an earlier run.
	err := os.Remove(filepath.Join(s.opts.DataDir, ConnectionsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the data directory cannot be used: %w", err)
	}
	if s.kept.keeper == nil {
		return nil
	}
	return s.kept.keeper.Load()
}

// fillDataDir writes what is to be found there once the hub is ready.
func (s *Server) fillDataDir() error {
	if s.opts.DataDir == "" {
		return nil
	}
	if s.kept.keeper != nil {
		// First, so that no key is told that a crash could take back.
		if err := s.kept.keeper.Save(); err != nil {
			return err
		}
	}
	return s.writeFiles(s.opts.DataDir)
}

// closeDataDir saves a hub that has stopped.
func (s *Server) closeDataDir() error {
	if s.kept.keeper == nil {
		return nil
	}
	return s.kept.keeper.Close()
}
