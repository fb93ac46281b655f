package terminal_test

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// TestWideCharactersTakeTwoColumns, and those that are put on others take none.
func TestWideCharactersTakeTwoColumns(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	wide := terminal.NewTable(0)
	wide.Row(terminal.Text("名前"), terminal.Text("プレス機"), terminal.Text("."))
	wide.Row(terminal.Text("name"), terminal.Text("e\u0301tage"), terminal.Text("."))
	var out bytes.Buffer
	terminal.Fixed(&out, false, 0).Table(wide)
	g.Expect(out.String()).To(Equal("名前  プレス機  .\nname  e\u0301tage     .\n"))
	out.Reset()
	narrow := terminal.NewTable(0)
	narrow.Row(terminal.Text("プレス機の二号機"), terminal.Text("x"))
	terminal.Fixed(&out, false, 13).Table(narrow)
	g.Expect(out.String()).To(Equal("プレス機…   x\n"))
}

// TestLinesGoOnBelow where they are longer than the screen is wide, at a blank.
func TestLinesGoOnBelow(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const text = "the hub has no such device or module (404 DeviceNotFound); register it"
	for width, want := range map[int]string{
		0:   "  " + text + "\n",
		100: "  " + text + "\n",
		40:  "  the hub has no such device or module\n    (404 DeviceNotFound); register it\n",
		30:  "  the hub has no such device\n    or module (404\n    DeviceNotFound); register\n    it\n",
		10:  "  " + text + "\n", // too narrow to be read in any case
	} {
		var out bytes.Buffer
		terminal.Fixed(&out, false, width).Line(terminal.Plain, "  %s", text)
		g.Expect(out.String()).To(Equal(want), "%d", width)
	}
	var out bytes.Buffer
	terminal.Fixed(&out, true, 40).Line(terminal.Heading, "%s", text+" "+strings.Repeat("x", 60))
	g.Expect(out.String()).To(HaveSuffix("\n  \x1b[1m" + strings.Repeat("x", 60) + "\x1b[0m\n"))
	out.Reset()
	terminal.Fixed(&out, false, 40).Line(terminal.Plain, "")
	g.Expect(out.String()).To(Equal("\n"))
}

// TestSentencesAreNotCut in the last column of a table.
func TestSentencesAreNotCut(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	table := terminal.NewTable(0).Sentences()
	table.Row(terminal.Text("ok"), terminal.Text("webhook devicetwins"), terminal.Text("answers"))
	table.Row(terminal.Text("FAIL"), terminal.Text("HubConnection"), terminal.Text("its Secret is not there: create it, with the connection string"))
	for width, want := range map[int]string{
		0:  "FAIL  HubConnection        its Secret is not there: create it, with the connection string\n",
		71: "FAIL  HubConnection        its Secret is not there: create it, with the\n                           connection string\n",
		50: "FAIL  HubConnection        its Secret is not\n      there: create it, with the connection string\n",
	} {
		var out bytes.Buffer
		terminal.Fixed(&out, false, width).Table(table)
		g.Expect(out.String()).To(Equal("ok    webhook devicetwins  answers\n"+want), "%d", width)
	}
}

// TestColoursCanBeRead on a white screen and on a black one.
func TestColoursCanBeRead(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, style := range []terminal.Style{terminal.Good, terminal.Warning, terminal.Bad} {
		var out bytes.Buffer
		terminal.Fixed(&out, true, 0).Line(style, "x")
		found := regexp.MustCompile(`^\x1b\[38;5;(\d+)mx\x1b\[0m\n$`).FindStringSubmatch(out.String())
		g.Expect(found).To(HaveLen(2), "%q", out.String())
		n, err := strconv.Atoi(found[1])
		g.Expect(err).NotTo(HaveOccurred())
		shown := luminance(n)
		g.Expect(1.05/(shown+0.05)).To(BeNumerically(">", 3.6), "contrast of %d with white", n)
		g.Expect((shown+0.05)/0.05).To(BeNumerically(">", 3.6), "contrast of %d with black", n)
	}
}

// luminance is that of a colour of the cube of 6 x 6 x 6 that xterm has, as WCAG defines it.
func luminance(n int) float64 {
	n -= 16
	linear := func(step int) float64 {
		c := []float64{0, 95, 135, 175, 215, 255}[step%6] / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n/36) + 0.7152*linear(n/6) + 0.0722*linear(n)
}
