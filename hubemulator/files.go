package hubemulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files that a hub with a data directory writes there.
const (
	CAFile          = "ca.crt"
	ConnectionsFile = "connections.json"
)

// Connections is the content of connections.json: all that clients need to
// know, keys included.
type Connections struct {
	// Service is the connection string of the policy iothubowner.
	Service string `json:"service"`
	// Policies holds a connection string for each shared access policy.
	Policies map[string]string `json:"policies"`
	// Devices holds a connection string for each device created at start.
	Devices   map[string]string `json:"devices"`
	Addresses Addresses         `json:"addresses"`
	// Issuer is the hub's own issuer of Entra ID's access tokens; absent when
	// there is none.
	Issuer *IssuerConnection `json:"issuer,omitempty"`
}

// Addresses are where a hub listens, each as host:port.
type Addresses struct {
	HTTPS string `json:"https"`
	MQTT  string `json:"mqtt"`
	Admin string `json:"admin"`
}

func (s *Server) connections() (Connections, error) {
	connections := Connections{
		Policies:  map[string]string{},
		Devices:   map[string]string{},
		Addresses: Addresses{HTTPS: s.HTTPSAddress(), MQTT: s.MQTTAddress(), Admin: s.AdminAddress()},
	}
	for _, policy := range s.store.Policies() {
		text, err := s.ServiceConnectionString(policy.Name)
		if err != nil {
			return Connections{}, err
		}
		connections.Policies[policy.Name] = text
	}
	connections.Issuer = s.entra.connection()
	connections.Service = connections.Policies["iothubowner"]
	for _, deviceID := range s.opts.Devices {
		text, err := s.DeviceConnectionString(deviceID)
		if err != nil {
			return Connections{}, err
		}
		connections.Devices[deviceID] = text
	}
	return connections, nil
}

// writeFiles writes connections.json last, so that whoever waits for it finds
// everything in place.
func (s *Server) writeFiles(dir string) error {
	connections, err := s.connections()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(connections, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be used: %w", err)
	}
	if err := writeAtomically(filepath.Join(dir, CAFile), s.entra.withCA(s.identity.CAPEM), 0o644); err != nil {
		return err
	}
	return writeAtomically(filepath.Join(dir, ConnectionsFile), append(text, '\n'), 0o600)
}

// writeAtomically never leaves a half-written file under the final name.
func writeAtomically(path string, content []byte, mode os.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("the data directory cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err = errors.Join(err, file.Chmod(mode), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}
