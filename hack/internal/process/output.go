package process

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// linesKept bounds what a process's output takes in memory; the file has all.
const linesKept = 2000

// Line is one line that a process wrote, and when.
type Line struct {
	At   time.Time
	Text string
}

// output collects what a process writes: all of it in a file, the last lines
// in memory. A process's standard output and error share one.
type output struct {
	mu      sync.Mutex
	file    *os.File
	partial []byte
	lines   []Line
}

func newOutput(path string) (*output, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	return &output{file: file}, nil
}

// Write takes part of the process's output.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.partial = append(o.partial, p...)
	for {
		end := bytes.IndexByte(o.partial, '\n')
		if end < 0 {
			break
		}
		o.lines = append(o.lines, Line{At: now, Text: string(o.partial[:end])})
		o.partial = o.partial[end+1:]
	}
	if extra := len(o.lines) - linesKept; extra > 0 {
		o.lines = append([]Line(nil), o.lines[extra:]...)
	}
	return o.file.Write(p)
}

// find returns the first line written since then that contains text.
func (o *output) find(text string, since time.Time) (Line, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range o.lines {
		if !line.At.Before(since) && strings.Contains(line.Text, text) {
			return line, true
		}
	}
	return Line{}, false
}

// tail returns the last n lines written since then.
func (o *output) tail(n int, since time.Time) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var texts []string
	for _, line := range o.lines {
		if !line.At.Before(since) {
			texts = append(texts, line.Text)
		}
	}
	return texts[max(0, len(texts)-n):]
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.file.Close()
}
