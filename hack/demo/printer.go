package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// printer writes the story. Write errors are ignored: there is no other place to
// report that standard output is gone.
type printer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func newPrinter(w io.Writer) *printer { return &printer{w: w, start: time.Now()} }

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// heading opens a step.
func (p *printer) heading(id, title string) {
	p.line("")
	p.line("== %s. %s", id, title)
}

// note says what is being done or waited for.
func (p *printer) note(format string, args ...any) {
	p.line("   "+format, args...)
}

// evidence shows what was seen, under a caption that says where.
func (p *printer) evidence(caption, text string) {
	p.line("   %s", caption)
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		p.line("     | %s", l)
	}
}

// compact renders a value for one line of text.
func compact(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%v", value)
	}
	return string(text)
}

// seconds rounds a duration for humans.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
