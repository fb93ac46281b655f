package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

func TestKeysFromFiles(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	key := strings.Repeat("AAAA", 8)
	file := filepath.Join(dir, "service.key")
	g.Expect(os.WriteFile(file, []byte(key+"\n"), 0o600)).To(Succeed())
	start(t, dir, "--policy-key-file", "service="+file).end(t)
	g.Expect(connections(t, dir).Policies["service"]).To(HaveSuffix(";SharedAccessKey=" + key))

	for want, args := range map[string][]string{
		"should be POLICY=FILE":        {"--policy-key-file", file},
		"--policy-key-file cannot be":  {"--policy-key-file", "service=" + file + ".old"},
		"--ca-key-file cannot be used": {"--ca-key-file", filepath.Join(dir, "none")},
		"failed to find any PEM data":  {"--ca-cert-file", file, "--ca-key-file", file},
	} {
		var stderr bytes.Buffer
		args = append(args, "--https-address=127.0.0.1:0", "--mqtt-address=127.0.0.1:0", "--admin-address=127.0.0.1:0", "--data-dir", dir)
		g.Expect(run(t.Context(), args, &bytes.Buffer{}, &stderr)).NotTo(Equal(exitOK))
		g.Expect(stderr.String()).To(ContainSubstring(want))
	}
}
