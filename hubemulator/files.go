package hubemulator

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/state"
)

// The files that a hub with a data directory writes there for others.
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
	// Devices holds a connection string for each device that the hub had when
	// it was started and that signs in with a key; Modules for each module,
	// named {device}/{module}.
	Devices   map[string]string `json:"devices"`
	Modules   map[string]string `json:"modules,omitempty"`
	Addresses Addresses         `json:"addresses"`
	// HostNames are those that Server.HostNames returns.
	HostNames []string `json:"hostNames"`
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
		Modules:   map[string]string{},
		Addresses: Addresses{HTTPS: s.HTTPSAddress(), MQTT: s.MQTTAddress(), Admin: s.AdminAddress()},
		HostNames: s.HostNames(),
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
	for id, key := range s.store.Keys() {
		if id.Module != "" {
			connections.Modules[id.Device+"/"+id.Module] = s.keyConnectionString(id, key)
		} else {
			connections.Devices[id.Device] = s.keyConnectionString(id, key)
		}
	}
	return connections, nil
}

// writeFiles writes connections.json last, so that a process that waits for it finds
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
	if err := replace(filepath.Join(dir, CAFile), 0o644, s.entra.withCA(s.identity.CAPEM)); err != nil {
		return err
	}
	return replace(filepath.Join(dir, ConnectionsFile), 0o600, append(text, '\n'))
}

func replace(path string, mode os.FileMode, content []byte) error {
	return state.Replace(path, mode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
