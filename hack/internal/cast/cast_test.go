package cast

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func recording() *Recording {
	r := &Recording{Columns: 20, Rows: 3}
	r.Note("a note")
	r.Prompt(`kubectl twin get "a<b"`)
	r.Pause(time.Second)
	r.Output("\x1b[1mNAME\x1b[0m  READY\r\npress \x1b[38;5;160mFalse\x1b[0m and so on\r\n")
	r.Pause(3 * time.Second)
	return r
}

func TestLinesAreBrokenWhereTheScreenEnds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	g.Expect(recording().lines).To(Equal([]line{
		{0, []span{{"# a note", faint}}},
		{0, []span{{"$ ", faint}, {`kubectl twin get "`, bold}}},
		{0, []span{{`a<b"`, bold}}},
		{time.Second, []span{{"NAME", bold}, {"  READY", plain}}},
		{time.Second, []span{{"press ", plain}, {"False", red}, {" and so o", plain}}},
		{time.Second, []span{{"n", plain}}},
	}))
}

// TestStylesGoOnOverLines, as terminals have it.
func TestStylesGoOnOverLines(t *testing.T) {
	t.Parallel()
	r := &Recording{Columns: 80, Rows: 3}
	r.Output("\x1b[2mfaint\n\nstill\x1b[0m no more\n")
	NewWithT(t).Expect(r.lines).To(Equal([]line{
		{0, []span{{"faint", faint}}}, {0, []span{}}, {0, []span{{"still", faint}, {" no more", plain}}},
	}))
}

func TestTheDrawing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	drawn := string(recording().SVG("a & b"))
	decoder := xml.NewDecoder(strings.NewReader(drawn))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		g.Expect(err).NotTo(HaveOccurred(), drawn)
	}
	g.Expect(drawn).To(And(
		ContainSubstring("<title>a &amp; b</title>"),
		ContainSubstring(`textLength="33.6"><tspan class="b">a&lt;b&#34;</tspan></text>`),
		ContainSubstring(`<tspan class="r">False</tspan>`),
		// The second screen's lines come after one of four seconds, and move up those before.
		ContainSubstring("@keyframes t1{0%{opacity:0}25.000%,100%{opacity:1}}"),
		ContainSubstring("@keyframes s{0.000%{transform:translateY(0px)}25.000%{transform:translateY(-57px)}100%{transform:translateY(-57px)}}"),
	))
}
