package terminal_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

func bar(whole, done, failed int64) string {
	return terminal.Bar(10, whole, terminal.Part{Sign: "#", Count: done}, terminal.Part{Sign: "!", Count: failed})
}

func TestBars(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, tt := range []struct {
		whole, done, failed int64
		want                string
	}{
		{0, 0, 0, "[..........]"},
		{10, 0, 0, "[..........]"},
		{10, 5, 0, "[#####.....]"},
		{10, 10, 0, "[##########]"},
		{1_000_000, 999_999, 1, "[#########!]"},
		{1_000_000, 999_998, 1, "[########!.]"},
		{1_000_000, 1, 0, "[#.........]"},
		{3, 1, 1, "[####!!!...]"},
		{5, 9, 9, "[##########]"},
		{-1, -1, 5, "[..........]"},
	} {
		g.Expect(bar(tt.whole, tt.done, tt.failed)).To(Equal(tt.want), "%+v", tt)
	}
}

// TestBarsTellWhatIsThere: no part that is there is missing, none that is not is shown, and the width is always the same.
func TestBarsTellWhatIsThere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := NewWithT(t)
		done, failed, rest := rapid.Int64Range(0, 1e6).Draw(t, "done"), rapid.Int64Range(0, 1e6).Draw(t, "failed"), rapid.Int64Range(0, 1e6).Draw(t, "rest")
		text := bar(done+failed+rest, done, failed)
		g.Expect(text).To(MatchRegexp(`^\[#*!*\.*\]$`))
		g.Expect(text).To(HaveLen(12))
		if done+failed+rest == 0 {
			return
		}
		for sign, count := range map[string]int64{"#": done, "!": failed, ".": rest} {
			g.Expect(strings.Count(text, sign) > 0).To(Equal(count > 0), "%s of %s", sign, text)
			g.Expect(float64(strings.Count(text, sign))).To(BeNumerically("~", float64(count)/float64(done+failed+rest)*10, 2.01), text)
		}
	})
}
