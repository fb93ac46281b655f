package version

import (
	"runtime/debug"
	"testing"

	. "github.com/onsi/gomega"
)

func TestCommit(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		settings []debug.BuildSetting
		want     string
	}{
		"a clean tree":           {[]debug.BuildSetting{{Key: "vcs.revision", Value: "1a2b3c"}, {Key: "vcs.modified", Value: "false"}}, "1a2b3c"},
		"a tree that was edited": {[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "1a2b3c"}}, "1a2b3c-dirty"},
		"no repository":          {[]debug.BuildSetting{{Key: "GOOS", Value: "linux"}}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			NewWithT(t).Expect(commit(row.settings)).To(Equal(row.want))
		})
	}
}

func TestAnOrdinaryBuildIsNoRelease(t *testing.T) {
	t.Parallel()
	NewWithT(t).Expect(Line("manager")).To(MatchRegexp(`^manager devel \(commit unknown, go1\.\d+\S*, \w+/\w+\)$`))
}
