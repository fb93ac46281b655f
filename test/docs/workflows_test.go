package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

// workflow is what is checked of a file in .github/workflows.
type workflow struct {
	Permissions *map[string]string `json:"permissions"`
	Jobs        map[string]struct {
		Permissions *map[string]string `json:"permissions"`
		Steps       []struct {
			Uses string         `json:"uses"`
			With map[string]any `json:"with"`
			Run  string         `json:"run"`
		} `json:"steps"`
	} `json:"jobs"`
}

// makeTargets are the targets that the Makefile declares.
func makeTargets(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\.PHONY: (.+)$`).FindAllStringSubmatch(string(text), -1) {
		for _, name := range strings.Fields(match[1]) {
			targets[name] = true
		}
	}
	return targets
}

// targetsOf are the targets that a step's script has make build.
func targetsOf(script string) []string {
	var targets []string
	for _, call := range regexp.MustCompile(`(?m)(?:^|[;&|(] *|^sudo env "PATH=\$PATH" )make ([^;&|)\n#]*)`).FindAllStringSubmatch(script, -1) {
		for _, word := range strings.Fields(call[1]) {
			if !strings.Contains(word, "=") && !strings.HasPrefix(word, "-") {
				targets = append(targets, word)
			}
		}
	}
	return targets
}

// TestWorkflows checks what can be checked of them without GitHub: targets that exist, actions
// pinned by commit, and no more rights than a job asks for.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	declared := makeTargets(t)
	pinned := regexp.MustCompile(`uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			text, err := os.ReadFile(file)
			g.Expect(err).NotTo(HaveOccurred())
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); strings.Contains(line, "uses:") {
					g.Expect(line).To(MatchRegexp(pinned.String()))
				}
			}
			var flow workflow
			g.Expect(yaml.Unmarshal(text, &flow)).To(Succeed())
			g.Expect(flow.Permissions).To(HaveValue(BeEmpty()), "permissions: {} at the top")
			g.Expect(flow.Jobs).NotTo(BeEmpty())
			var targets []string
			for name, job := range flow.Jobs {
				g.Expect(job.Permissions).NotTo(BeNil(), "the job %s says what it needs", name)
				for _, step := range job.Steps {
					targets = append(targets, targetsOf(step.Run)...)
					if strings.HasPrefix(step.Uses, "actions/checkout@") {
						g.Expect(step.With).To(HaveKeyWithValue("persist-credentials", false), name)
					}
				}
			}
			g.Expect(targets).NotTo(BeEmpty())
			for _, target := range targets {
				g.Expect(declared).To(HaveKey(target), "a target of the Makefile")
			}
		})
	}
}
