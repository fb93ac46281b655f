// Package conformance_test lets Microsoft's own IoT Hub packages judge the
// emulator: the published service and device packages for Node, unmodified,
// play the device twins tutorial against it over TLS.
package conformance_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const (
	nodeDir  = "node"
	deviceID = "thermostat-1"
	// suiteTimeout bounds one suite; each takes a few seconds.
	suiteTimeout = 2 * time.Minute
)

// policies are the shared access policies the suites authenticate with.
var policies = []string{"iothubowner", "service", "registryReadWrite"}

func TestNodeSDK(t *testing.T) {
	node := nodeOrSkip(t)
	npm := lookPathOrSkip(t, "npm")
	installPackages(t, npm)
	for _, suite := range []string{"tutorial", "service", "devices", "modules"} {
		t.Run(suite, func(t *testing.T) {
			runSuite(t, node, suite+".test.js")
		})
	}
}

// runSuite starts a hub of its own for one file of cases, runs the file and
// reports each case as a subtest.
func runSuite(t *testing.T, node, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	hub, err := hubemulator.Start(ctx, hubemulator.Options{Devices: []string{deviceID}})
	if err != nil {
		t.Fatalf("start the emulator: %v", err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Errorf("stop the emulator: %v", err)
		}
	})

	report := filepath.Join(t.TempDir(), "junit.xml")
	cmd := exec.CommandContext(ctx, node,
		"--require", "./redirect-443.js",
		"--test-reporter=junit", "--test-reporter-destination="+report,
		file)
	cmd.Dir = nodeDir
	cmd.Env = append(os.Environ(), hubEnvironment(t, hub)...)
	cmd.WaitDelay = 5 * time.Second
	output, runErr := cmd.CombinedOutput()

	cases, err := readReport(report)
	if err != nil {
		t.Fatalf("%s left no usable report: %v (node: %v)\n%s", file, err, runErr, output)
	}
	failed := reportCases(t, cases)
	if runErr != nil && failed == 0 {
		t.Errorf("%s: %v, though no case failed\n%s", file, runErr, output)
	}
}

// hubEnvironment tells the suites where the hub is. The service package gets
// the host name as a real hub has it, without a port; the device package takes
// the MQTT port in the host name.
func hubEnvironment(t *testing.T, hub *hubemulator.Server) []string {
	t.Helper()
	host, _, err := net.SplitHostPort(hub.HostName())
	if err != nil {
		t.Fatalf("host name %q: %v", hub.HostName(), err)
	}
	services := map[string]string{}
	for _, policy := range policies {
		connection, err := hub.ServiceConnectionString(policy)
		if err != nil {
			t.Fatalf("connection string of policy %s: %v", policy, err)
		}
		services[policy] = withHostName(connection, host)
	}
	connections, err := json.Marshal(services)
	if err != nil {
		t.Fatal(err)
	}
	device, err := hub.DeviceConnectionString(deviceID)
	if err != nil {
		t.Fatalf("connection string of %s: %v", deviceID, err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, hub.CACertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return append(certificateEnvironment(t),
		"NODE_EXTRA_CA_CERTS="+caFile,
		"HUB_HOST="+host,
		"HUB_HTTPS_PORT="+portOf(t, hub.HTTPSAddress()),
		"HUB_SERVICE_CONNECTIONS="+string(connections),
		"HUB_DEVICE_ID="+deviceID,
		"HUB_DEVICE_CONNECTION="+withHostName(device, net.JoinHostPort(host, portOf(t, hub.MQTTAddress()))),
	)
}

// withHostName returns the connection string with another host name.
func withHostName(connection, host string) string {
	parts := strings.Split(connection, ";")
	for i, part := range parts {
		if strings.HasPrefix(part, "HostName=") {
			parts[i] = "HostName=" + host
		}
	}
	return strings.Join(parts, ";")
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatalf("address %q: %v", address, err)
	}
	return port
}

func TestWithHostName(t *testing.T) {
	t.Parallel()
	got := withHostName("HostName=localhost:8443;SharedAccessKeyName=service;SharedAccessKey=a=b=", "hub.example")
	want := "HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=a=b="
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPolicies keeps the suites and this list together: a suite that asks for
// a policy which is not handed to it fails with an obscure error.
func TestPolicies(t *testing.T) {
	t.Parallel()
	asked := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(nodeDir, "*.js"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no suites found: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(asked, policiesIn(string(text)))
	}
	for _, policy := range policies {
		delete(asked, policy)
	}
	if len(asked) > 0 {
		t.Errorf("the suites ask for policies %v, which they are not given", asked)
	}
}

func policiesIn(text string) map[string]bool {
	found := map[string]bool{}
	for _, piece := range strings.Split(text, "serviceRegistry('")[1:] {
		name, _, _ := strings.Cut(piece, "'")
		found[name] = true
	}
	return found
}
