package terminal_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

func table() *terminal.Table {
	t := terminal.NewTable(2, "NAME", "MESSAGE")
	t.Row(terminal.Styled(terminal.Bad, "größe"), terminal.Text("%s", strings.Repeat("long ", 10)))
	t.Row(terminal.Text("x"), terminal.Text("escape\x1b[31m and\nline"))
	return t
}

func TestTables(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var out bytes.Buffer
	terminal.Fixed(&out, false, 0).Table(table())
	g.Expect(out.String()).To(Equal("  NAME   MESSAGE\n  größe  " + strings.TrimSpace(strings.Repeat("long ", 10)) + "\n  x      escape\uFFFD[31m and\uFFFDline\n"))
	for _, width := range []int{30, 80} {
		out.Reset()
		terminal.Fixed(&out, false, width).Table(table())
		for line := range strings.Lines(out.String()) {
			g.Expect(len([]rune(strings.TrimSpace(line)))).To(BeNumerically("<=", width))
		}
	}
	out.Reset()
	terminal.Fixed(&out, true, 20).Table(table())
	g.Expect(out.String()).To(Equal("  \x1b[1mNAME\x1b[0m   \x1b[1mMESSAGE\x1b[0m\n  \x1b[38;5;160mgröße\x1b[0m  long long …\n  x      escape\uFFFD[31…\n"))
}

func TestAColumnIsKept(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var out bytes.Buffer
	kept := terminal.NewTable(0).Keep(0)
	kept.Row(terminal.Text("tags.location.description"), terminal.Text("%s", strings.Repeat("x", 40)))
	terminal.Fixed(&out, false, 40).Table(kept)
	g.Expect(out.String()).To(Equal("tags.location.description  xxxxxxxxxxxx…\n"))
	out.Reset()
	terminal.Fixed(&out, false, 20).Table(kept)
	g.Expect(out.String()).To(Equal("tags.loca…  xxxxxxx…\n"), "where there is no other way it is cut as well")
}

func TestColumnsAreKept(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var out bytes.Buffer
	kept := terminal.NewTable(0).Keep(0, 2)
	kept.Row(terminal.Text("2026-11-30T10:20:41Z"), terminal.Text("kubectl-client-side-apply"), terminal.Text("desired.telemetry.level"), terminal.Text("AAAAAAAAAAE= -> AAAAAAAAAAI="))
	terminal.Fixed(&out, false, 70).Table(kept)
	g.Expect(out.String()).To(Equal("2026-11-30T10:20:41Z  kubectl-c…  desired.telemetry.level  AAAAAAAAAA…\n"))
	out.Reset()
	terminal.Fixed(&out, false, 63).Table(kept)
	g.Expect(out.String()).To(Equal("2026-11-30T10:20:41Z  kubectl…  desired.telemetry.le…  AAAAAAA…\n"), "of those that are kept, the widest gives first")
}

func TestProgressOfWhatTakesLong(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := clocktesting.NewFakeClock(time.Now())
	told := make(chan string, 8)
	p := terminal.NewProgress(writer(told), clock, "reading")
	p.Add(41)
	p.Add(1)
	clock.Step(terminal.Patience - time.Millisecond)
	g.Consistently(told, 50*time.Millisecond).ShouldNot(Receive())
	clock.Step(time.Millisecond)
	g.Eventually(told).Should(Receive(Equal("reading: 42 so far, for 2s\n")))
	clock.Step(2 * time.Second)
	g.Eventually(told).Should(Receive(Equal("reading: 42 so far, for 4s\n")))
	clock.Step(2 * time.Second)
	g.Consistently(told, 50*time.Millisecond).ShouldNot(Receive(), "ever more seldom")
	clock.Step(2 * time.Second)
	g.Eventually(told).Should(Receive(Equal("reading: 42 so far, for 8s\n")))
	p.Stop()
}

// writer sends what is written.
type writer chan<- string

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}
