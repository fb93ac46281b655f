package state_test

import (
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/state"
)

// list is a part that keeps texts.
type list struct {
	name     string
	content  []any
	restored []string
	revision uint64
	saving   func() // called before anything is yielded; may be nil
}

func (l *list) part() state.Part {
	return state.Part{
		Name:     l.name,
		Revision: func() uint64 { return l.revision },
		Saved: func() iter.Seq[any] {
			if l.saving != nil {
				l.saving()
			}
			return slices.Values(l.content)
		},
		Restore: func(record json.RawMessage) error {
			var text string
			if err := state.Decode(record, &text); err != nil {
				return err
			}
			if text == "unbearable" {
				return errors.New("it is unbearable")
			}
			l.restored = append(l.restored, text)
			return nil
		},
	}
}

func open(t *testing.T, dir string) *state.File {
	t.Helper()
	file, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// save writes two parts and returns what the file is then.
func save(t *testing.T, file *state.File, dir string) []byte {
	t.Helper()
	g := NewWithT(t)
	some, others := &list{name: "some", content: []any{"a", "b"}}, &list{name: "others", content: []any{"<c>"}}
	g.Expect(file.Save([]state.Part{some.part(), others.part()})).To(Succeed())
	text, err := os.ReadFile(filepath.Join(dir, state.FileName))
	g.Expect(err).NotTo(HaveOccurred())
	return text
}

// load reads a file with this content.
func load(t *testing.T, file *state.File, dir string, content []byte) ([]string, error) {
	t.Helper()
	NewWithT(t).Expect(os.WriteFile(filepath.Join(dir, state.FileName), content, 0o600)).To(Succeed())
	some, others := &list{name: "some"}, &list{name: "others"}
	found, err := file.Load([]state.Part{some.part(), others.part()})
	NewWithT(t).Expect(found).To(Equal(err == nil))
	return append(some.restored, others.restored...), err
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	file := open(t, dir)
	found, err := file.Load(nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(BeFalse(), "there is no file yet")

	text := save(t, file, dir)
	g.Expect(string(text)).To(HavePrefix(`{"format":"hubemulator-state","version":1}
{"part":"some","record":"a"}
{"part":"some","record":"b"}
{"part":"others","record":"<c>"}
{"end":{"records":3,"sha256":"`))
	info, err := os.Stat(filepath.Join(dir, state.FileName))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)), "it holds keys")

	restored, err := load(t, file, dir, text)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(restored).To(Equal([]string{"a", "b", "<c>"}))
}

// A file that is cut anywhere, or of which a bit flipped anywhere, is never
// taken for a good one.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	file := open(t, dir)
	text := save(t, file, dir)
	for length := range text {
		_, err := load(t, file, dir, text[:length])
		g.Expect(err).To(MatchError(And(ContainSubstring(filepath.Join(dir, state.FileName)+" is damaged: line "),
			ContainSubstring("put a good copy in its place, or move the file away for an empty hub"))), "cut to %d bytes", length)
	}
	for at := range text {
		flipped := slices.Clone(text)
		flipped[at] ^= 1 << (at % 7)
		restored, err := load(t, file, dir, flipped)
		if err == nil {
			// JSON takes "End" for "end": nothing is lost.
			g.Expect(strings.ToLower(string(flipped))).To(Equal(string(text)), "byte %d", at)
			g.Expect(restored).To(Equal([]string{"a", "b", "<c>"}))
			continue
		}
		g.Expect(err).To(MatchError(ContainSubstring(filepath.Join(dir, state.FileName))), "byte %d", at)
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := open(t, dir)
	good := string(save(t, file, dir))
	lines := strings.SplitAfter(good, "\n")
	for name, tt := range map[string]struct{ content, refusal string }{
		"a newer format": {
			strings.Replace(good, `"version":1`, `"version":2`, 1),
			"cannot be used: line 1: its format is 2, and this hubemulator reads no later one than 1: a newer one wrote this; start the hubemulator that did",
		},
		"a format that never was": {strings.Replace(good, `"version":1`, `"version":0`, 1), "line 1: there is no format 0"},
		"an unknown part": {
			strings.Replace(good, `"others"`, `"dreams"`, 1),
			`cannot be used: line 4: this hubemulator knows nothing of "dreams": a newer one wrote this; start the hubemulator that did`,
		},
		"another program's": {"{}\n" + good, "line 1: it does not begin as the state of a hub does"},
		"no JSON at all":    {"# hello\n", "line 1: it does not begin as the state of a hub does"},
		"an unknown member": {strings.Replace(good, `{"part":"some"`, `{"x":1,"part":"some"`, 1), `line 2: json: unknown field "x"`},
		"a record that its part does not take": {
			strings.Replace(good, `"b"`, `"unbearable"`, 1), "line 3: some: it is unbearable",
		},
		"a line less":         {strings.Join(slices.Delete(slices.Clone(lines), 2, 3), ""), "line 4: the sum of its content is not what it should be"},
		"lines in disorder":   {lines[0] + lines[2] + lines[1] + lines[3] + lines[4], "line 5: the sum of its content is not what it should be"},
		"something behind it": {good + "\n", "line 5: the file goes on behind its end"},
	} {
		_, err := load(t, file, dir, []byte(tt.content))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.refusal)), name)
	}
}

func TestAFailedSaveLeavesTheLastOne(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	file := open(t, dir)
	good := save(t, file, dir)
	bad := &list{name: "some", content: []any{"x", make(chan int)}}
	g.Expect(file.Save([]state.Part{bad.part()})).To(MatchError(ContainSubstring(`part "some"`)))
	g.Expect(os.ReadFile(filepath.Join(dir, state.FileName))).To(Equal(good))
	g.Expect(names(t, dir)).To(ConsistOf(state.FileName, "state.lock"))
}

// A hub that is killed while it saves leaves a file behind that has no name
// yet.
func TestAKilledSaveLeavesTheLastOne(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "a[b]")
	g.Expect(os.Mkdir(dir, 0o700)).To(Succeed())
	file := open(t, dir)
	good := save(t, file, dir)
	during := &list{name: "some", saving: func() {
		g.Expect(os.ReadFile(filepath.Join(dir, state.FileName))).To(Equal(good))
		for _, name := range names(t, dir) {
			if name != state.FileName && name != "state.lock" {
				g.Expect(os.Link(filepath.Join(dir, name), filepath.Join(dir, ".state.jsonl.killed.new"))).To(Succeed())
			}
		}
	}}
	g.Expect(file.Save([]state.Part{during.part()})).To(Succeed())
	g.Expect(names(t, dir)).To(ContainElement(".state.jsonl.killed.new"))
	g.Expect(file.Close()).To(Succeed())
	open(t, dir)
	g.Expect(names(t, dir)).To(ConsistOf(state.FileName, "state.lock"))
}

func TestOneHubAtATime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	first := open(t, dir)
	_, err := state.Open(dir)
	g.Expect(err).To(MatchError("the data directory " + dir + " is in use by another hub; stop that one, or choose another directory"))
	g.Expect(first.Close()).To(Succeed())
	open(t, dir)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out
}
