package hubemulator

import (
	"fmt"
	"net/url"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/httpserver"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// HostName is the host name in connection strings. It carries the HTTPS port
// unless that is 443.
func (s *Server) HostName() string {
	return httpserver.HostPort(s.opts.Hostname, s.HTTPSAddress())
}

// HTTPSAddress is where the service API listens, as host:port.
func (s *Server) HTTPSAddress() string { return s.listeners.https.Addr().String() }

// MQTTAddress is where devices connect over MQTT with TLS, as host:port.
func (s *Server) MQTTAddress() string { return s.listeners.mqtt.Addr().String() }

// AdminAddress is where the admin API listens in plain HTTP, as host:port.
func (s *Server) AdminAddress() string { return s.listeners.admin.Addr().String() }

// AdminURL is the admin API's base, for instance "http://127.0.0.1:8444/emulator".
func (s *Server) AdminURL() string {
	return (&url.URL{Scheme: "http", Host: s.AdminAddress(), Path: "/emulator"}).String()
}

// CACertificatePEM is the certificate authority that a client has to trust.
func (s *Server) CACertificatePEM() []byte { return s.identity.CAPEM }

// ServiceConnectionString returns a connection string for the service API
// with the rights of the policy: iothubowner, service, device, registryRead or
// registryReadWrite.
func (s *Server) ServiceConnectionString(policy string) (string, error) {
	for _, known := range s.store.Policies() {
		if known.Name == policy {
			return fmt.Sprintf("HostName=%s;SharedAccessKeyName=%s;SharedAccessKey=%s", s.HostName(), policy, known.PrimaryKey), nil
		}
	}
	return "", fmt.Errorf("there is no policy %q", policy)
}

// DeviceConnectionString returns the connection string that a device signs in
// with.
func (s *Server) DeviceConnectionString(deviceID string) (string, error) {
	return s.connectionString(store.ID{Device: deviceID})
}

// ModuleConnectionString returns the connection string that a module signs in
// with.
func (s *Server) ModuleConnectionString(deviceID, moduleID string) (string, error) {
	return s.connectionString(store.ID{Device: deviceID, Module: moduleID})
}

func (s *Server) connectionString(id store.ID) (string, error) {
	key, err := s.store.Key(id)
	if err != nil {
		return "", err
	}
	if key == "" {
		who := fmt.Sprintf("device %q", id.Device)
		if id.Module != "" {
			who = fmt.Sprintf("module %q of %s", id.Module, who)
		}
		return "", fmt.Errorf("%s does not sign in with a key", who)
	}
	return s.keyConnectionString(id, key), nil
}

func (s *Server) keyConnectionString(id store.ID, key string) string {
	owner := "DeviceId=" + id.Device
	if id.Module != "" {
		owner += ";ModuleId=" + id.Module
	}
	return fmt.Sprintf("HostName=%s;%s;SharedAccessKey=%s", s.HostName(), owner, key)
}

// AddDevice registers a device with fresh keys and returns its connection
// string.
func (s *Server) AddDevice(deviceID string) (string, error) {
	return s.add(store.ID{Device: deviceID})
}

// AddModule registers a module of a device with fresh keys and returns its
// connection string. The device has to exist, and to be enabled.
func (s *Server) AddModule(deviceID, moduleID string) (string, error) {
	if moduleID == "" {
		return "", fmt.Errorf("a module of device %q should have an id", deviceID)
	}
	return s.add(store.ID{Device: deviceID, Module: moduleID})
}

func (s *Server) add(id store.ID) (string, error) {
	if _, err := s.store.PutIdentity(id, "", []byte("{}")); err != nil {
		return "", err
	}
	return s.connectionString(id)
}

// RemoveDevice deletes a device with its twin and modules, and ends their
// connections.
func (s *Server) RemoveDevice(deviceID string) error {
	return s.store.DeleteIdentity(store.ID{Device: deviceID}, "*")
}

// TwinJSON returns a device's twin as the service API shows it.
func (s *Server) TwinJSON(deviceID string) ([]byte, error) {
	return s.twinJSON(store.ID{Device: deviceID})
}

// ModuleTwinJSON returns a module's twin as the service API shows it.
func (s *Server) ModuleTwinJSON(deviceID, moduleID string) ([]byte, error) {
	return s.twinJSON(store.ID{Device: deviceID, Module: moduleID})
}

func (s *Server) twinJSON(id store.ID) ([]byte, error) {
	twin, err := s.store.Twin(id)
	if err != nil {
		return nil, err
	}
	return twin.AppendJSON(nil), nil
}

// Report merges a JSON object into a device's reported properties, as if the
// device had sent it: for tests that want no device of their own. It returns the
// new reported.$version; refusals are what a device would be told.
func (s *Server) Report(deviceID string, patch []byte) (int64, error) {
	return s.store.Report(store.ID{Device: deviceID}, patch)
}

// ReportModule is Report for a module, system modules included.
func (s *Server) ReportModule(deviceID, moduleID string, patch []byte) (int64, error) {
	return s.store.Report(store.ID{Device: deviceID, Module: moduleID}, patch)
}
