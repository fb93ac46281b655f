package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
)

// formatVersion moves when a hub that is older could misread what is written.
// A part that is new does not move it: an older hub refuses parts that it does
// not know.
const formatVersion = 1

// formatName begins every file, so that another one is not taken for it.
const formatName = "hubemulator-state"

// Part is one kind of what a hub keeps.
type Part struct {
	// Name tells the part's records from those of others.
	Name string
	// Revision moves with every change of what Saved yields.
	Revision func() uint64
	// Saved yields the records, which are written as JSON, in the order that
	// Restore needs. It may take long, and must not keep the hub from its work.
	Saved func() iter.Seq[any]
	// Restore takes one record back; Decode reads it. The errors must not
	// quote the record: it may hold keys.
	Restore func(record json.RawMessage) error
}

// A file is one JSON document a line: a header, the records, and an end that
// proves that the file is whole.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

type line struct {
	Part   string          `json:"part,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	End    *end            `json:"end,omitempty"`
}

type end struct {
	Records int `json:"records"`
	// SHA256 is that of all lines before this one.
	SHA256 string `json:"sha256"`
}

// write streams the parts: it never holds more than one record.
func write(w io.Writer, parts []Part) error {
	buffered := bufio.NewWriterSize(w, 1<<16)
	sum := sha256.New()
	encoder := json.NewEncoder(io.MultiWriter(buffered, sum))
	encoder.SetEscapeHTML(false) // it only costs
	if err := encoder.Encode(header{Format: formatName, Version: formatVersion}); err != nil {
		return err
	}
	records := 0
	for _, part := range parts {
		for record := range part.Saved() {
			if err := encoder.Encode(struct {
				Part   string `json:"part"`
				Record any    `json:"record"`
			}{part.Name, record}); err != nil {
				return fmt.Errorf("part %q: %w", part.Name, err)
			}
			records++
		}
	}
	whole := end{Records: records, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if err := json.NewEncoder(buffered).Encode(line{End: &whole}); err != nil {
		return err
	}
	return buffered.Flush()
}

// reader goes through a file line by line.
type reader struct {
	lines *bufio.Reader
	sum   hash.Hash
	line  int // the number of the last one that was read
}

// read gives every record back to its part. When it fails, some records may
// have been given back already: what they went into is of no use then.
func read(r io.Reader, parts []Part) error {
	in := &reader{lines: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	if err := in.header(); err != nil {
		return err
	}
	restore := map[string]func(json.RawMessage) error{}
	for _, part := range parts {
		restore[part.Name] = part.Restore
	}
	for records := 0; ; records++ {
		found, before, err := in.next()
		switch {
		case err != nil:
			return err
		case found.End != nil:
			return in.end(*found.End, end{Records: records, SHA256: hex.EncodeToString(before)})
		case restore[found.Part] == nil:
			return in.wrap(fmt.Errorf("this hubemulator knows nothing of %q: %w", found.Part, errNewer))
		}
		if err := restore[found.Part](found.Record); err != nil {
			return in.wrap(fmt.Errorf("%s: %w", found.Part, err))
		}
	}
}

// errNewer says that a later hubemulator wrote the file.
var errNewer = errors.New("a newer one wrote this")

func (r *reader) header() error {
	text, err := r.text()
	if err != nil {
		return err
	}
	var found header
	if err := json.Unmarshal(text, &found); err != nil || found.Format != formatName {
		return r.wrap(errors.New("it does not begin as the state of a hub does"))
	}
	if found.Version > formatVersion {
		return r.wrap(fmt.Errorf("its format is %d, and this hubemulator reads no later one than %d: %w", found.Version, formatVersion, errNewer))
	}
	if found.Version < 1 {
		return r.wrap(fmt.Errorf("there is no format %d", found.Version))
	}
	r.sum.Write(text)
	return nil
}

// next reads a line; before is the sum of all lines before it.
func (r *reader) next() (found line, before []byte, err error) {
	text, err := r.text()
	if err != nil {
		return line{}, nil, err
	}
	before = r.sum.Sum(nil)
	r.sum.Write(text)
	if err := Decode(text, &found); err != nil {
		return line{}, nil, r.wrap(err)
	}
	return found, before, nil
}

func (r *reader) text() ([]byte, error) {
	r.line++
	text, err := r.lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = r.wrap(errors.New("the file ends too early"))
	}
	return text, err
}

func (r *reader) end(found, counted end) error {
	if found != counted {
		return r.wrap(errors.New("the sum of its content is not what it should be"))
	}
	if _, err := r.lines.ReadByte(); !errors.Is(err, io.EOF) {
		return r.wrap(errors.New("the file goes on behind its end"))
	}
	return nil
}

func (r *reader) wrap(err error) error { return fmt.Errorf("line %d: %w", r.line, err) }

// Decode reads a record, of which nothing may be left over. Numbers stay as
// they are spelled.
func Decode(record []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(record))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
