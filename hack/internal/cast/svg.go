package cast

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// The size of the drawing, in its own units.
const (
	columnWidth = 8.4
	rowHeight   = 19
	baseline    = 14
	margin      = 14
)

// look is that of a dark window with a frame: it can be read on a light page and on a dark one.
const look = `
.w{fill:#0d1117;stroke:#6e7681}
text{fill:#e6edf3;font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}
.b{font-weight:700}.f{fill:#9198a1}.g{fill:#3fb950}.y{fill:#d29922}.r{fill:#ff7b72}
`

// SVG draws the recording, which begins anew after its end. Where nothing moves the last screen is seen.
func (r *Recording) SVG(title string) []byte {
	width := float64(r.Columns)*columnWidth + 2*margin
	height := r.Rows*rowHeight + 2*margin
	times := r.times()
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img">`+"\n<title>%s</title>\n<style>%s%s</style>\n",
		width, height, html.EscapeString(title), look, r.animation(times))
	fmt.Fprintf(&out, `<clipPath id="c"><rect x="%d" y="%d" width="%.0f" height="%d"/></clipPath>`+"\n",
		margin, margin, width-2*margin, height-2*margin)
	fmt.Fprintf(&out, `<rect class="w" x=".5" y=".5" width="%.0f" height="%d" rx="8"/>`+"\n", width-1, height-1)
	out.WriteString(`<g clip-path="url(#c)"><g class="s">` + "\n")
	shown := 0
	for i, at := range times {
		fmt.Fprintf(&out, `<g class="t%d">`, i)
		for ; shown < len(r.lines) && r.lines[shown].at == at; shown++ {
			out.WriteString(r.lines[shown].svg(margin + shown*rowHeight + baseline))
		}
		out.WriteString("</g>\n")
	}
	out.WriteString("</g></g>\n</svg>\n")
	return []byte(out.String())
}

// svg draws a line. Its length is given, since fonts differ in how wide they are.
func (l line) svg(y int) string {
	columns := 0
	var spans strings.Builder
	for _, s := range l.spans {
		columns += len([]rune(s.text))
		text := html.EscapeString(s.text)
		if s.style != plain {
			text = `<tspan class="` + string(s.style) + `">` + text + `</tspan>`
		}
		spans.WriteString(text)
	}
	if columns == 0 {
		return ""
	}
	return fmt.Sprintf(`<text xml:space="preserve" x="%d" y="%d" textLength="%.1f">%s</text>`, margin, y, float64(columns)*columnWidth, &spans)
}

// times are those at which lines came, in order.
func (r *Recording) times() (times []time.Duration) {
	for _, l := range r.lines {
		if len(times) == 0 || times[len(times)-1] != l.at {
			times = append(times, l.at)
		}
	}
	return times
}

// animation has the lines appear at their times, and the screen move up when it is full.
func (r *Recording) animation(times []time.Duration) string {
	var rules, moves strings.Builder
	percent := func(at time.Duration) string { return fmt.Sprintf("%.3f%%", 100*at.Seconds()/r.at.Seconds()) }
	up := func(lines int) int { return -max(0, lines-r.Rows) * rowHeight }
	shown := 0
	for i, at := range times {
		for ; shown < len(r.lines) && r.lines[shown].at == at; shown++ {
			continue
		}
		fmt.Fprintf(&moves, "%s{transform:translateY(%dpx)}", percent(at), up(shown))
		if at > 0 {
			fmt.Fprintf(&rules, ".t%d{animation:t%d %.1fs step-end infinite}@keyframes t%d{0%%{opacity:0}%s,100%%{opacity:1}}\n", i, i, r.at.Seconds(), i, percent(at))
		}
	}
	return fmt.Sprintf("%s.s{transform:translateY(%dpx);animation:s %.1fs step-end infinite}@keyframes s{%s100%%{transform:translateY(%dpx)}}\n"+
		"@media(prefers-reduced-motion:reduce){.s,.s g{animation:none!important}}\n", &rules, up(shown), r.at.Seconds(), &moves, up(shown))
}
