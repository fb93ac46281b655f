package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestRun(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	dir := t.TempDir()
	stdout, stderr := gbytes.NewBuffer(), gbytes.NewBuffer()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{
			"--https-address", "127.0.0.1:0", "--mqtt-address", "127.0.0.1:0", "--admin-address=127.0.0.1:0",
			"--data-dir", dir, "--device", "d1", "--device", "d2",
		}, stdout, stderr)
	}()
	g.Eventually(stdout).Should(gbytes.Say("hubemulator: ready at https://localhost:[0-9]+ .*connections.json\n"))
	text, err := os.ReadFile(filepath.Join(dir, "connections.json"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(text)).To(And(ContainSubstring(`"d1": "HostName=`), ContainSubstring(`"d2": "HostName=`)))
	g.Expect(filepath.Join(dir, "ca.crt")).To(BeAnExistingFile())
	g.Consistently(code).ShouldNot(Receive())
	stop()
	g.Eventually(code).Should(Receive(Equal(exitOK)))
	g.Expect(strings.Count(string(stdout.Contents()), "\n")).To(Equal(1), "one line, no more")
	g.Expect(string(stderr.Contents())).To(BeEmpty())
}

func TestHelp(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(run(t.Context(), []string{"--help"}, &stdout, &stderr)).To(Equal(exitOK))
	for _, word := range []string{"Examples:", "--https-address host:port", "--mqtt-address", "--admin-address", "--hostname", "--data-dir", "--device ID", "--tier size", "--units number", "--fault-seed number", "/metrics", "staleRead", "indexStall", "--query-lag duration", "--query-ghosts duration", "--choose name=value", "sixth-subscription", "refused, disconnect", "127.0.0.1:8443",
		"--entra-issuer URL", "--entra-jwks file", "--entra-ca-file file", "--entra-role PRINCIPAL=ROLE", "--disable-local-auth",
		"--issuer-address host:port", "--issuer-tenant GUID", "--issuer-app CLIENT-ID=SUBJECT", "--issuer-trusted URL", "--issuer-trusted-jwks file",
		"IoT Hub Registry Contributor"} {
		g.Expect(stdout.String()).To(ContainSubstring(word))
	}
	g.Expect(stderr.String()).To(BeEmpty())
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--nonsense"}, {"thermostat-1"}, {"--data-dir="}, {"--device-ca-file=/nowhere"}, {"--choose=stale-version"},
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
