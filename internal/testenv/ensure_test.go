package testenv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
)

// stubGo stands in for the go command: it "builds" by writing an executable,
// and keeps a log of what it was asked for.
const stubGo = `#!/usr/bin/env bash
set -eu
case $1 in
env) if [[ $2 == GOHOSTOS ]]; then echo linux; else echo amd64; fi ;;
build)
  echo "build ${!#}" >>"$STUB_LOG"
  if [[ ${!#} == *"${STUB_BREAKS:-nothing}" ]]; then echo "stub: cannot build" >&2; exit 1; fi
  while [[ $1 != -o ]]; do shift; done
  printf '#!/bin/sh\n' >"$2"; chmod +x "$2" ;;
tool)
  echo "download" >>"$STUB_LOG"
  while [[ $1 != --bin-dir ]]; do shift; done
  dir=$2/k8s/1.37.9-linux-amd64
  mkdir -p "$dir"
  for name in kube-apiserver etcd kubectl; do printf '#!/bin/sh\n' >"$dir/$name"; chmod +x "$dir/$name"; done ;;
esac
`

// sandbox is a user with an empty cache and stubs for go and curl.
type sandbox struct {
	t     *testing.T
	dir   string
	cache string
	env   []string
}

func newSandbox(t *testing.T, env ...string) *sandbox {
	t.Helper()
	dir := t.TempDir()
	s := &sandbox{t: t, dir: dir, cache: filepath.Join(dir, "cache", "devicetwin-operator", "controlplane")}
	s.write("bin/go", stubGo)
	s.write("bin/curl", "#!/bin/sh\nexit ${STUB_CURL:-6}\n") // 6: could not resolve the host
	s.env = append([]string{
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"),
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
		"STUB_LOG=" + filepath.Join(dir, "log"),
	}, env...)
	return s
}

func (s *sandbox) write(name, content string) {
	s.t.Helper()
	g := NewWithT(s.t)
	path := filepath.Join(s.dir, name)
	g.Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
	g.Expect(os.WriteFile(path, []byte(content), 0o755)).To(Succeed())
}

// run runs the script and gives what it printed.
func (s *sandbox) run(args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(s.t.Context(), "../../hack/controlplane/ensure.sh", args...)
	cmd.Env = s.env
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return strings.TrimSpace(out.String()), errOut.String(), err
}

// log is what the stub was asked for.
func (s *sandbox) log() []string {
	content, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func builds() []string {
	return []string{"build ./etcd", "build k8s.io/kubernetes/cmd/kube-apiserver", "build k8s.io/kubernetes/cmd/kubectl"}
}

func TestEnsureBuildsOnceAndThenFinds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := newSandbox(t)

	dir, said, err := s.run()
	g.Expect(err).NotTo(HaveOccurred(), said)
	g.Expect(filepath.Dir(dir)).To(Equal(s.cache))
	g.Expect(filepath.Base(dir)).To(MatchRegexp(`^1\.37\.\d+-3\.\d+\.\d+-linux-amd64$`))
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl"} {
		g.Expect(filepath.Join(dir, name)).To(BeARegularFile())
		g.Expect(said).To(MatchRegexp(`built ` + name + ` in \d+ s`))
	}
	g.Expect(said).To(ContainSubstring("about 6 minutes on two cores"))
	g.Expect(s.log()).To(Equal(builds()))

	for _, args := range [][]string{nil, {"--cached"}} {
		again, said, err := s.run(args...)
		g.Expect(err).NotTo(HaveOccurred(), said)
		g.Expect(again).To(Equal(dir))
		g.Expect(said).To(BeEmpty())
	}
	g.Expect(s.log()).To(Equal(builds()), "nothing is built twice")
}

func TestEnsureCachedNeverBuilds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := newSandbox(t)
	dir, said, err := s.run("--cached")
	var exit *exec.ExitError
	g.Expect(err).To(BeAssignableToTypeOf(exit))
	g.Expect(dir).To(BeEmpty())
	g.Expect(said).To(ContainSubstring("run 'make controlplane'"))
	g.Expect(s.log()).To(BeEmpty())
}

func TestEnsureTwoAtOnceBuildOnce(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("flock (util-linux) is not on this machine, and without it two may build at once")
	}
	g := NewWithT(t)
	s := newSandbox(t)
	var wg sync.WaitGroup
	dirs, errs := make([]string, 4), make([]error, 4)
	for i := range dirs {
		wg.Go(func() { dirs[i], _, errs[i] = s.run() })
	}
	wg.Wait()
	for i := range dirs {
		g.Expect(errs[i]).NotTo(HaveOccurred())
		g.Expect(dirs[i]).To(Equal(dirs[0]))
	}
	g.Expect(s.log()).To(Equal(builds()))
}

func TestEnsureFailedBuildLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := newSandbox(t, "STUB_BREAKS=kubectl")
	dir, said, err := s.run()
	g.Expect(err).To(HaveOccurred())
	g.Expect(dir).To(BeEmpty())
	g.Expect(said).To(ContainSubstring("stub: cannot build"))
	left, err := filepath.Glob(filepath.Join(s.cache, "[^.]*"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left).To(BeEmpty())
	left, err = filepath.Glob(filepath.Join(s.cache, ".build-*"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left).To(BeEmpty())

	s.env = append(s.env, "STUB_BREAKS=nothing")
	_, said, err = s.run()
	g.Expect(err).NotTo(HaveOccurred(), said)
}

func TestEnsureDownloadsWhereItCan(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := newSandbox(t, "STUB_CURL=0")
	want := filepath.Join(s.cache, "setup-envtest", "k8s", "1.37.9-linux-amd64")
	for range 2 {
		dir, said, err := s.run()
		g.Expect(err).NotTo(HaveOccurred(), said)
		g.Expect(dir).To(Equal(want))
	}
	g.Expect(s.log()).To(Equal([]string{"download"}))
}

func TestEnsureTakesKubebuilderAssets(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := newSandbox(t)
	mine := filepath.Join(s.dir, "mine")
	s.env = append(s.env, "KUBEBUILDER_ASSETS="+mine)
	for _, name := range []string{"kube-apiserver", "etcd"} {
		s.write("mine/"+name, "#!/bin/sh\n")
	}
	_, said, err := s.run("--cached")
	g.Expect(err).To(HaveOccurred(), "kubectl is missing there")
	g.Expect(said).To(ContainSubstring("does not hold kube-apiserver, etcd and kubectl"))

	s.write("mine/kubectl", "#!/bin/sh\n")
	dir, said, err := s.run("--cached")
	g.Expect(err).NotTo(HaveOccurred(), said)
	g.Expect(dir).To(Equal(mine))
}
