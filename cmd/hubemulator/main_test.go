package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// process is a hub that runs.
type process struct {
	stdout, stderr *gbytes.Buffer
	stop           func()
	code           chan int
}

// start runs a hub on free ports and waits until it is ready.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &process{stdout: gbytes.NewBuffer(), stderr: gbytes.NewBuffer(), stop: stop, code: make(chan int, 1)}
	go func() {
		p.code <- run(ctx, append([]string{
			"--https-address", "127.0.0.1:0", "--mqtt-address", "127.0.0.1:0", "--admin-address=127.0.0.1:0", "--data-dir", dir,
		}, args...), p.stdout, p.stderr)
	}()
	NewWithT(t).Eventually(p.stdout, "10s").Should(gbytes.Say("hubemulator: ready at https://localhost:[0-9]+ .*connections.json\n"))
	return p
}

// end stops it, which must go well.
func (p *process) end(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	p.stop()
	g.Eventually(p.code, "10s").Should(Receive(Equal(exitOK)))
	g.Expect(strings.Count(string(p.stdout.Contents()), "\n")).To(Equal(1), "one line, no more")
	g.Expect(string(p.stderr.Contents())).To(BeEmpty())
}

func connections(t *testing.T, dir string) hubemulator.Connections {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(filepath.Join(dir, "connections.json"))
	g.Expect(err).NotTo(HaveOccurred())
	var found hubemulator.Connections
	g.Expect(json.Unmarshal(text, &found)).To(Succeed())
	return found
}

func TestRun(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	p := start(t, dir, "--device", "d1", "--device", "d2")
	g.Expect(connections(t, dir).Devices).To(And(HaveLen(2), HaveKey("d1"), HaveKey("d2")))
	g.Expect(filepath.Join(dir, "ca.crt")).To(BeAnExistingFile())
	g.Consistently(p.code, "50ms").ShouldNot(Receive())
	p.end(t)
}

func TestRunAgain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	// key is what does not depend on the ports.
	key := func() string {
		_, found, _ := strings.Cut(connections(t, dir).Devices["d1"], "SharedAccessKey=")
		return found
	}
	start(t, dir, "--device", "d1").end(t)
	kept := key()
	g.Expect(kept).NotTo(BeEmpty())
	start(t, dir, "--device", "d1").end(t)
	g.Expect(key()).To(Equal(kept))
	start(t, dir).end(t)
	g.Expect(key()).To(Equal(kept), "it is there without the flag as well")
	start(t, dir, "--ephemeral", "--device", "d1").end(t)
	g.Expect(key()).NotTo(Equal(kept))
}

// fleetOfHelp is the example that the help text gives.
func fleetOfHelp(t *testing.T) string {
	t.Helper()
	_, example, found := strings.Cut(usage, "with devices to create:\n")
	example, _, closed := strings.Cut(example, "Devices also have")
	NewWithT(t).Expect(found && closed).To(BeTrue())
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	NewWithT(t).Expect(os.WriteFile(path, []byte(example), 0o600)).To(Succeed())
	return path
}

func TestRunWithAFleet(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir, fleet := t.TempDir(), fleetOfHelp(t)
	start(t, dir, "--fleet", fleet).end(t)
	found := connections(t, dir)
	g.Expect(found.Devices).To(And(HaveLen(1001), HaveKey("gateway"), HaveKey("thermostat-1000")))
	g.Expect(found.Modules).To(And(HaveLen(1000), HaveKey("thermostat-1/filter")))

	p := start(t, dir, "--fleet", fleet)
	p.stop()
	g.Eventually(p.code, "10s").Should(Receive(Equal(exitOK)))
	g.Expect(string(p.stderr.Contents())).To(And(
		ContainSubstring("had some of the fleet already and left them as they are"), ContainSubstring("devicesAndModules=2001")))
	again := connections(t, dir)
	_, key, _ := strings.Cut(found.Devices["thermostat-1"], "SharedAccessKey=")
	g.Expect(again.Devices["thermostat-1"]).To(HaveSuffix(key))
}

func TestRefusedFleet(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	for text, code := range map[string]int{
		"devices: [{id: a, tag: {}}]":        exitUsage,
		"devices: [{id: a, tags: {b.c: 1}}]": exitFailure,
	} {
		g.Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
		var stdout, stderr bytes.Buffer
		g.Expect(run(t.Context(), []string{"--fleet", path, "--data-dir", t.TempDir(), "--https-address", "127.0.0.1:0",
			"--mqtt-address", "127.0.0.1:0", "--admin-address=127.0.0.1:0"}, &stdout, &stderr)).To(Equal(code), text)
		g.Expect(stderr.String()).To(And(ContainSubstring(path), ContainSubstring(`device "a": `)), text)
		g.Expect(stdout.String()).To(BeEmpty())
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	dir := t.TempDir()
	g.Expect(run(t.Context(), []string{"--version", "--data-dir", dir}, &stdout, &stderr)).To(Equal(exitOK))
	g.Expect(stdout.String()).To(HavePrefix("hubemulator devel (commit "))
	g.Expect(stderr.String()).To(BeEmpty())
	g.Expect(os.ReadDir(dir)).To(BeEmpty(), "no hub was started")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(run(t.Context(), []string{"--help"}, &stdout, &stderr)).To(Equal(exitOK))
	for _, word := range []string{"Examples:", "--https-address host:port", "--mqtt-address", "--admin-address", "--hostname", "--data-dir", "state.jsonl", "--ephemeral", "--device ID", "--fleet file", "{{n}}", "--tier size", "--units number", "--fault-seed number", "/metrics", "staleRead", "indexStall", "--query-lag duration", "--query-ghosts duration", "--choose name=value", "sixth-subscription", "refused, disconnect", "127.0.0.1:8443",
		"--configuration-interval duration", "/emulator/configurations/evaluate",
		"--entra-issuer URL", "--entra-jwks file", "--entra-ca-file file", "--entra-role PRINCIPAL=ROLE", "--disable-local-auth",
		"--issuer-address host:port", "--issuer-tenant GUID", "--issuer-app CLIENT-ID=SUBJECT", "--issuer-trusted URL", "--issuer-trusted-jwks file",
		"IoT Hub Registry Contributor"} {
		g.Expect(stdout.String()).To(ContainSubstring(word))
	}
	g.Expect(stderr.String()).To(BeEmpty())
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--nonsense"}, {"thermostat-1"}, {"--data-dir="}, {"--device-ca-file=/nowhere"}, {"--fleet=/nowhere"}, {"--fleet=main.go"}, {"--choose=stale-version"},
		{"--entra-ca-file=/nowhere"}, {"--entra-role=b0000000"}, {"--entra-role==Owner"}, {"--issuer-app=a=b"}, {"--issuer-trusted=https://a"},
		{"--issuer-address=127.0.0.1:0", "--issuer-app=a"}, {"--issuer-address=127.0.0.1:0", "--issuer-trusted=https://a"},
		{"--issuer-address=127.0.0.1:0", "--issuer-trusted=https://a", "--issuer-trusted-jwks=/nowhere"},
	} {
		g := NewWithT(t)
		var stdout, stderr bytes.Buffer
		g.Expect(run(t.Context(), args, &stdout, &stderr)).To(Equal(exitUsage))
		g.Expect(stderr.String()).To(And(HavePrefix("hubemulator: "), ContainSubstring("--help")))
		g.Expect(stdout.String()).To(BeEmpty())
	}
}

func TestFailureToStart(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(run(t.Context(), []string{"--https-address", "nowhere", "--data-dir", t.TempDir()}, &stdout, &stderr)).To(Equal(exitFailure))
	g.Expect(stderr.String()).To(ContainSubstring("the HTTPS address nowhere cannot be used"))
	g.Expect(stdout.String()).To(BeEmpty())
	stderr.Reset()
	g.Expect(run(t.Context(), []string{"--tier", "B1", "--data-dir", t.TempDir()}, &stdout, &stderr)).To(Equal(exitFailure))
	g.Expect(stderr.String()).To(ContainSubstring(`tier "B1" is unknown`))
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, problem string }{
		{"stale-versions=refused", `choice "stale-versions" is unknown; use one of ["stale-version" "null-tags"`},
		{"stale-version=413", `choice "stale-version" cannot be "413"; use one of ["ignored" "refused"]`},
		{"stale-version", `"stale-version" is not name=value`},
	} {
		g := NewWithT(t)
		var stdout, stderr bytes.Buffer
		g.Expect(run(t.Context(), []string{"--choose", tt.text}, &stdout, &stderr)).To(Equal(exitUsage))
		g.Expect(stderr.String()).To(ContainSubstring(tt.problem))
	}
	g := NewWithT(t)
	opts, _, err := parseFlags([]string{"--choose", "stale-version=refused", "--choose=oversize-status=413"}, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(opts.Choices).To(Equal(hubemulator.Choices{StaleVersion: "refused", OversizeStatus: "413"}))
}
