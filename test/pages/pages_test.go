// Package pages_test runs the commands of README.md and of the pages in docs as
// they stand there: the real helm, kubectl and plugin, against a real API server,
// with a manager and an emulated hub.
package pages_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	root     = "../.."
	chartURL = "oci://ghcr.io/devicetwin-io/charts/devicetwin-operator"
)

// patience bounds one block of commands, the first of which may have to build its tools.
const patience = 5 * time.Minute

// TestMain sets both: an API server without custom resource definitions, whose
// Services lead to this machine, where nothing answers, and where Helm is.
var (
	cluster *testenv.Env
	helmCLI string
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // as kubectl has it
	out, err := testenv.Tool("hack/tools/helm/go.mod", "-n", "helm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	helmCLI = strings.TrimSpace(out)
	opts := testenv.Options{CRDDirs: []string{}, ServiceRange: "127.0.0.0/24"}
	os.Exit(testenv.Run(m, opts, func(e *testenv.Env) { cluster = e }))
}

// fence is a block of a page: what its first line says of it, and its text.
var fence = regexp.MustCompile("(?ms)^ *```([^\n]*)\n(.*?)^ *```$")

// command is how a line begins that is typed into a shell. What a shell prints follows a prompt.
var command = regexp.MustCompile(`(?m)^(kubectl|helm|make|az|curl|go|git) [a-z-]+[ -~]*$`)

// blocksOf are the blocks of a page that are said to be in this language.
func blocksOf(t *testing.T, page, language string) (blocks []string) {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(filepath.Join(root, page))
	g.Expect(err).NotTo(HaveOccurred())
	for _, match := range fence.FindAllStringSubmatch(string(text), -1) {
		block := unindented(match[2])
		g.Expect(match[1]).To(BeElementOf("sh", "yaml", "go", "text", "json", "sql", "mermaid", ""), "%s: commands are in blocks of sh, so that they are found", page)
		if match[1] == "" {
			g.Expect(block).NotTo(MatchRegexp(command.String()), "%s: commands are in blocks of sh, so that they are found", page)
		}
		if match[1] == language {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// pages are README.md and all of docs.
func pages(t *testing.T) []string {
	t.Helper()
	g := NewWithT(t)
	found := []string{readme}
	g.Expect(fs.WalkDir(os.DirFS(root), "docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			found = append(found, path)
		}
		return err
	})).To(Succeed())
	return found
}

// unindented is a block as it would be outside of a list.
func unindented(block string) string {
	indent := block[:len(block)-len(strings.TrimLeft(block, " "))]
	return strings.ReplaceAll("\n"+block, "\n"+indent, "\n")[1:]
}

// stepOf finds the block of a step.
func stepOf(t *testing.T, s step) string {
	t.Helper()
	var found []string
	for _, block := range blocksOf(t, s.page, "sh") {
		if strings.Contains(block, s.has) {
			found = append(found, block)
		}
	}
	NewWithT(t).Expect(found).To(HaveLen(1), "the block of %s with %q", s.page, s.has)
	return found[0]
}

// TestEveryBlockIsListed, and run or not for a reason.
func TestEveryBlockIsListed(t *testing.T) {
	t.Parallel()
	all := steps(&plant{})
	for _, s := range all {
		stepOf(t, s)
	}
	var wrong []string
	for _, page := range pages(t) {
		for _, block := range blocksOf(t, page, "sh") {
			listed := 0
			for _, s := range all {
				if s.page == page && strings.Contains(block, s.has) {
					listed++
				}
			}
			if listed != 1 {
				wrong = append(wrong, fmt.Sprintf("%d steps of %s for\n%s", listed, page, block))
			}
		}
	}
	NewWithT(t).Expect(wrong).To(BeEmpty(), "%s", strings.Join(wrong, "\n"))
}

// TestPagesNameTheVersion that this is.
func TestPagesNameTheVersion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	text, err := os.ReadFile(filepath.Join(root, "VERSION"))
	g.Expect(err).NotTo(HaveOccurred())
	named := 0
	for _, s := range steps(&plant{}) {
		for _, match := range regexp.MustCompile(`(?:--version |download/v|devicetwin-operator[:-])(\d[0-9a-z.-]*?)(?:\s|/|\.tgz)`).FindAllStringSubmatch(stepOf(t, s), -1) {
			named++
			g.Expect(match[1]).To(Equal(strings.TrimSpace(string(text))), s.has)
		}
	}
	g.Expect(named).To(BeNumerically(">", 5))
}

// TestTheCommandsOfThePages in the order of the steps, on one cluster.
func TestTheCommandsOfThePages(t *testing.T) {
	shell := newShell(t)
	playDeployments(t)
	p := newPlant(t, shell.dir)
	shell.env = append(shell.env, "MANAGER_METRICS="+p.metrics)
	for _, s := range steps(p) {
		if s.cannot != "" {
			continue
		}
		ok := t.Run(s.page+": "+s.has, func(t *testing.T) {
			g := NewWithT(t)
			if s.before != nil {
				shell.run(t, s.before(t))
			}
			block := stepOf(t, s)
			for _, other := range s.instead {
				g.Expect(block).To(ContainSubstring(other.of), "what something else is run for")
				block = strings.ReplaceAll(block, other.of, other.run)
			}
			out := shell.run(t, strings.ReplaceAll(block, chartURL, "charts/devicetwin-operator"))
			g.Expect(out).To(ContainSubstring(s.prints))
			if s.after != nil {
				shell.run(t, s.after(t))
			}
		})
		if !ok {
			t.FailNow() // what follows goes on from here
		}
	}
}

// shell runs commands in a folder that looks like a checkout.
type shell struct {
	dir string
	env []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	g := NewWithT(t)
	dir := t.TempDir()
	project, err := filepath.Abs(root)
	g.Expect(err).NotTo(HaveOccurred())
	bin := filepath.Join(dir, "bin")
	g.Expect(os.Mkdir(bin, 0o700)).To(Succeed())
	for link, to := range map[string]string{
		"charts": filepath.Join(project, "charts"), "config": filepath.Join(project, "config"), "checkout": project,
		"bin/helm": helmCLI, "bin/kubectl": cluster.Kubectl(),
	} {
		g.Expect(os.Symlink(to, filepath.Join(dir, link))).To(Succeed())
	}
	buildPrograms(t, bin)
	for program, script := range map[string]string{
		// It stands in for Azure's, and knows the connection string of the plant's hub alone.
		"az":        `case "$*" in *"connection-string show"*) cat "` + dir + `/connection-string" ;; esac`,
		"kustomize": `[ "$1" = build ] && exec kubectl kustomize "$2"`,
	} {
		g.Expect(os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+script+"\n"), 0o700)).To(Succeed())
	}
	return &shell{dir: dir, env: append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+cluster.KubeconfigFile(t), "SOURCE_DATE_EPOCH=1700000000",
		"HELM_CONFIG_HOME="+dir, "HELM_CACHE_HOME="+dir, "HELM_DATA_HOME="+dir,
	)}
}

// run fails the test if a command fails, and returns what all of them printed.
func (s *shell) run(t *testing.T, commands string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.dir, s.env, time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), "%s\n%s", commands, &out)
	return out.String()
}
