package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// stages are the instructions of each stage of the Dockerfile, with those of the stage that it is from.
func stages(t *testing.T) map[string]map[string]string {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile("../../Dockerfile")
	g.Expect(err).NotTo(HaveOccurred())
	found := map[string]map[string]string{}
	var current map[string]string
	from := regexp.MustCompile(`^FROM (?:--\S+ )?(\S+) AS (\S+)$`)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if match := from.FindStringSubmatch(line); match != nil {
			current = map[string]string{}
			maps.Copy(current, found[match[1]])
			current["FROM"] = match[1]
			found[match[2]] = current
			continue
		}
		if instruction, value, ok := strings.Cut(line, " "); ok && current != nil && instruction != "COPY" {
			current[instruction] = value
		}
	}
	return found
}

// TestTheDockerfileGivesTheSameImages as far as the file says.
func TestTheDockerfileGivesTheSameImages(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	found := stages(t)
	g.Expect(found).To(HaveLen(2+len(programs())), "build and base")
	g.Expect(found["base"]).To(HaveKeyWithValue("FROM", "scratch"))
	list := func(value string) (out []string) {
		t.Helper()
		if value != "" {
			g.Expect(json.Unmarshal([]byte(value), &out)).To(Succeed())
		}
		return out
	}
	for _, p := range programs() {
		stage := found[p.name]
		g.Expect(stage).To(HaveKeyWithValue("USER", user), p.name)
		g.Expect(list(stage["ENTRYPOINT"])).To(Equal([]string{p.entrypoint()}), p.name)
		g.Expect(list(stage["CMD"])).To(Equal(p.args), p.name)
		g.Expect(stage["WORKDIR"]).To(Equal(p.data), p.name)
	}
}
