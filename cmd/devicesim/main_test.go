package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const patience = 15 * time.Second

// TestBinary builds the program and plays it against an emulated hub, once.
func TestBinary(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "devicesim")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))

	hub, err := hubemulator.Start(context.Background(), hubemulator.Options{Devices: []string{"d1"}})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Errorf("closing the hub: %v", err)
		}
	})
	cs, err := hub.DeviceConnectionString("d1")
	g.Expect(err).NotTo(HaveOccurred())
	csFile, caFile := filepath.Join(dir, "connection-string"), filepath.Join(dir, "ca.crt")
	g.Expect(os.WriteFile(csFile, []byte(cs+"\n"), 0o600)).To(Succeed())
	g.Expect(os.WriteFile(caFile, hub.CACertificatePEM(), 0o600)).To(Succeed())

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	device := exec.CommandContext(ctx, binary, "--connection-string-file", csFile, "--ca-file", caFile,
		"--mqtt-address", hub.MQTTAddress(), "--connectivity", "wifi")
	stdout, err := device.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		_ = stderr.Close()
		if text, err := os.ReadFile(stderr.Name()); t.Failed() && err == nil {
			t.Logf("on standard error: %s", text)
		}
	})
	device.Stderr = stderr
	g.Expect(device.Start()).To(Succeed())
	output := bufio.NewScanner(stdout)
	line := func() string {
		t.Helper()
		g.Expect(output.Scan()).To(BeTrue(), "no more output")
		return output.Text()
	}
	g.Expect(line()).To(Equal("devicesim: connected to " + hub.HostName() + " as d1"))
	g.Expect(line()).To(Equal(`devicesim: reported {"connectivity":"wifi"} ($version 2)`))
	g.Expect(device.Process.Signal(syscall.SIGTERM)).To(Succeed())
	g.Expect(line()).To(Equal("devicesim: disconnected"))
	g.Expect(output.Scan()).To(BeFalse(), "more output than expected")
	g.Expect(device.Wait()).To(Succeed())
	g.Eventually(func() any {
		raw, err := hub.TwinJSON("d1")
		g.Expect(err).NotTo(HaveOccurred())
		var twin map[string]any
		g.Expect(json.Unmarshal(raw, &twin)).To(Succeed())
		return twin["connectionState"]
	}, patience).Should(Equal("Disconnected"))
}

func TestVersion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(run(t.Context(), []string{"--version"}, &stdout, &stderr)).To(Succeed())
	g.Expect(stdout.String()).To(HavePrefix("devicesim devel (commit "))
	g.Expect(stderr.String()).To(BeEmpty())
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "HostName=localhost;DeviceId=d1;SharedAccessKey=c2VjcmV0")
	bad := file("bad", "HostName=localhost;DeviceId=d1;SharedAccessKey!c2VjcmV0")
	empty := file("empty", "")
	missing := filepath.Join(dir, "missing")
	tests := map[string]struct {
		args []string
		want string
	}{
		"no connection string":        {nil, "--connection-string-file is required"},
		"connection string missing":   {[]string{"--connection-string-file", missing}, "--connection-string-file: open"},
		"connection string malformed": {[]string{"--connection-string-file", bad}, "connection string: part 3 is not of the form Name=Value"},
		"CA missing":                  {[]string{"--connection-string-file", good, "--ca-file", missing}, "--ca-file: open"},
		"CA empty":                    {[]string{"--connection-string-file", good, "--ca-file", empty}, "is empty"},
		"CA without certificate":      {[]string{"--connection-string-file", good, "--ca-file", good}, "CA: no PEM certificate"},
		"argument":                    {[]string{"now"}, `unexpected argument "now"`},
		"unknown flag":                {[]string{"--faster"}, "unknown flag"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var stdout, stderr bytes.Buffer
			err := run(context.Background(), test.args, &stdout, &stderr)
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
			g.Expect(err.Error() + stdout.String() + stderr.String()).NotTo(ContainSubstring("c2VjcmV0"))
		})
	}
}
