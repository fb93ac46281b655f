package kubectltwin_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// packed runs hack/plugin.sh for this machine.
func (w *world) packed() (folder string) {
	w.Helper()
	root, err := testenv.ProjectRoot()
	w.Expect(err).NotTo(HaveOccurred())
	folder = w.TempDir()
	cmd := exec.CommandContext(w.Context(), "hack/plugin.sh", folder, "1.2.3", runtime.GOOS+"/"+runtime.GOARCH)
	cmd.Dir = root
	// Not the variables of a make that runs this test.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	cmd.Env = append(cmd.Env, "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.CombinedOutput()
	w.Expect(err).NotTo(HaveOccurred(), string(out))
	return folder
}

// TestTheArchiveIsAPlugin that kubectl finds and completes, and krew can install.
func TestTheArchiveIsAPlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(twin("thermostat-1"))
	folder := w.packed()
	name := "kubectl-twin_1.2.3_" + runtime.GOOS + "_" + runtime.GOARCH + ".tar.gz"
	archive, err := os.ReadFile(filepath.Join(folder, name))
	w.Expect(err).NotTo(HaveOccurred())
	sum := sha256.Sum256(archive)

	text, err := os.ReadFile(filepath.Join(folder, "krew-twin.yaml"))
	w.Expect(err).NotTo(HaveOccurred())
	var manifest struct {
		Metadata struct{ Name string }
		Spec     struct {
			Version   string
			Platforms []struct{ URI, SHA256, Bin string }
		}
	}
	w.Expect(yaml.Unmarshal(text, &manifest)).To(Succeed())
	w.Expect(manifest.Metadata.Name).To(Equal("twin"))
	w.Expect(manifest.Spec.Version).To(Equal("v1.2.3"))
	w.Expect(manifest.Spec.Platforms).To(HaveLen(1))
	w.Expect(manifest.Spec.Platforms[0].SHA256).To(Equal(hex.EncodeToString(sum[:])))
	w.Expect(manifest.Spec.Platforms[0].URI).To(HaveSuffix("/v1.2.3/" + name))

	listed, err := exec.CommandContext(w.Context(), "tar", "--numeric-owner", "--utc", "-tvzf", filepath.Join(folder, name)).Output()
	w.Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(string(listed)) { // nothing of this machine, so that it is the same each time
		w.Expect(line).To(MatchRegexp(`^-r[w-]x?.{7} 0/0 +\d+ 2023-11-14 22:13`))
	}
	w.Expect(strings.Count(string(listed), "\n")).To(Equal(3))
	out, err := exec.CommandContext(w.Context(), "tar", "-xzf", filepath.Join(folder, name), "-C", folder).CombinedOutput()
	w.Expect(err).NotTo(HaveOccurred(), string(out))
	w.Expect(filepath.Join(folder, manifest.Spec.Platforms[0].Bin)).To(BeARegularFile())
	kubectl := func(args ...string) string {
		w.Helper()
		cmd := exec.CommandContext(w.Context(), suite.env.Kubectl(), args...)
		// kubectl_complete-twin calls kubectl by its name.
		cmd.Env = append(os.Environ(), "PATH="+folder+":"+filepath.Dir(suite.env.Kubectl())+":"+os.Getenv("PATH"), "KUBECONFIG="+w.kubeconfig)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		w.Expect(cmd.Run()).To(Succeed(), stderr.String())
		return stdout.String()
	}
	w.Expect(kubectl("twin", "--version")).To(HavePrefix("kubectl-twin "))
	w.Expect(kubectl("twin", "get", "thermostat-1", "-n", w.ns)).To(ContainSubstring("tags.plant"))
	w.Expect(kubectl("__complete", "twin", "get", "-n", w.ns, "therm")).To(HavePrefix("thermostat-1\n"))
}
