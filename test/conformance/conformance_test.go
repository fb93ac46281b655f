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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const (
	nodeDir  = "node"
	deviceID = "thermostat-1"
	// suiteSuffix ends the names of the files that hold cases; what comes before
	// it is the suite's name.
	suiteSuffix = ".test.js"
	// suiteTimeout bounds one suite; each takes a few seconds.
	suiteTimeout = 2 * time.Minute
)

// policies are the shared access policies the suites authenticate with.
var policies = []string{"iothubowner", "service", "registryReadWrite"}

// hubs returns the kinds of hub of the suites that want another than the usual
// one.
func hubs() map[string]hubemulator.Options {
	return map[string]hubemulator.Options{
		"throttling": {Tier: "F1"},
		"entra":      entraHub(),
	}
}

func TestNodeSDK(t *testing.T) {
	node := supportedNodeOrSkip(t)
	installPackages(t, lookPathOrSkip(t, "npm"))
	methods := filepath.Join(t.TempDir(), "methods.json")
	if err := os.WriteFile(methods, []byte(run(t, node, "surface.js")), 0o600); err != nil {
		t.Fatal(err)
	}
	files := suiteFiles(t)
	var calls callLog
	t.Run("suites", func(t *testing.T) {
		for _, file := range files {
			name := strings.TrimSuffix(file, suiteSuffix)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				calls.add(t, name, runSuite(t, node, file, methods))
			})
		}
	})
	t.Run("packages", checkPackages)
	t.Run("methods", func(t *testing.T) {
		if len(calls.bySuite) < len(files) {
			t.Skipf("only %d of %d suites ran to their end", len(calls.bySuite), len(files))
		}
		checkMethods(t, methods, calls.bySuite)
	})
}

func suiteFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(nodeDir, "*"+suiteSuffix))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no suites found: %v", err)
	}
	var files []string
	for _, path := range paths {
		files = append(files, filepath.Base(path))
	}
	return files
}

// callLog collects which methods the suites called.
type callLog struct {
	mutex   sync.Mutex
	bySuite map[string][]string
}

// add reads what recorder.js left of a suite.
func (l *callLog) add(t *testing.T, suite, callsFile string) {
	t.Helper()
	content, err := os.ReadFile(callsFile)
	if err != nil {
		t.Fatalf("the suite did not say what it called: %v", err)
	}
	var ids []string
	if err := json.Unmarshal(content, &ids); err != nil {
		t.Fatalf("what the suite called: %v", err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.bySuite == nil {
		l.bySuite = map[string][]string{}
	}
	l.bySuite[suite] = ids
}

// runSuite starts a hub of its own for one file of cases, runs the file and
// reports each case as a subtest. It returns the file that names the methods
// which were called.
func runSuite(t *testing.T, node, file, methods string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	opts := hubs()[strings.TrimSuffix(file, suiteSuffix)]
	opts.Devices = []string{deviceID}
	hub, err := hubemulator.Start(ctx, opts)
	if err != nil {
		t.Fatalf("start the emulator: %v", err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Errorf("stop the emulator: %v", err)
		}
	})

	report := filepath.Join(t.TempDir(), "junit.xml")
	calls := filepath.Join(t.TempDir(), "calls.json")
	cmd := exec.CommandContext(ctx, node,
		"--require", "./redirect-443.js", "--require", "./recorder.js",
		"--test-reporter=junit", "--test-reporter-destination="+report,
		file)
	cmd.Dir = nodeDir
	cmd.Env = append(os.Environ(), hubEnvironment(t, hub)...)
	cmd.Env = append(cmd.Env, "HUB_METHODS="+methods, "HUB_CALLS="+calls)
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
	return calls
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
	environment, authorities := certificateEnvironment(t), hub.CACertificatePEM()
	if own := hub.Issuer(); own != nil {
		environment = append(environment, entraEnvironment(t, own)...)
		authorities = slices.Concat(authorities, own.CACertificatePEM())
	}
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, authorities, 0o600); err != nil {
		t.Fatal(err)
	}
	return append(environment,
		"NODE_EXTRA_CA_CERTS="+caFile,
		"HUB_HOST="+host,
		"HUB_ADMIN_URL="+hub.AdminURL(),
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

// TestHubs: a kind of hub for a suite that does not exist would be used by none.
func TestHubs(t *testing.T) {
	t.Parallel()
	files := suiteFiles(t)
	for suite := range hubs() {
		if !slices.Contains(files, suite+suiteSuffix) {
			t.Errorf("there is no suite %q", suite)
		}
	}
}
