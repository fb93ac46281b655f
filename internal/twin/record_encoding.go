package twin

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// recordFormat is the version of the encoded record.
	recordFormat = 1
	// ownKey holds the hashes of a leaf that also has members below it, which
	// happens while a leaf turns into an object. No twin key contains a dollar.
	ownKey = "$"
	// yieldedMark and replacesMark stand before the hash of a value that gave way
	// or is replaced. No hash contains them.
	yieldedMark, replacesMark = "~", "!"
	// packAbove is the length from which a record is packed: an object has 1.5 MiB in
	// etcd, and is in the memory of each of its watchers.
	packAbove = 32 << 10
	// maxUnpacked bounds what a packed record may grow to when it is read: far
	// above what the largest legal twin needs.
	maxUnpacked = 4 << 20
)

// encodedRecord is what is stored. A section is a string of hashes for a leaf and
// an object for its members.
type encodedRecord struct {
	Format   int    `json:"v"`
	Host     string `json:"host"`
	DeviceID string `json:"deviceId"`
	ModuleID string `json:"moduleId,omitempty"`
	Owner    string `json:"uid"`
	encodedSections
	Packed []byte `json:"packed,omitempty"`
}

type encodedSections struct {
	Tags    any `json:"tags,omitempty"`
	Desired any `json:"desired,omitempty"`
}

// Encode spells the record to be stored: as JSON that a user can read, or
// packed when it is long. Equal records have one spelling.
func (r Record) Encode() (string, error) {
	encoded := encodedRecord{
		Format: recordFormat, Host: r.Target.Host, DeviceID: r.Target.DeviceID, ModuleID: r.Target.ModuleID, Owner: r.Target.Owner,
	}
	encoded.Tags, encoded.Desired = r.tags.encode(), r.desired.encode()
	text, err := json.Marshal(encoded)
	if err == nil && len(text) > packAbove {
		text, err = encoded.pack()
	}
	if err != nil {
		return "", fmt.Errorf("encoding the ownership record: %w", err)
	}
	return string(text), nil
}

// DecodeRecord reads what Encode wrote. No text is a record of no target. A text
// that is no record is an error, and authorises nothing.
func DecodeRecord(text string) (Record, error) {
	if text == "" {
		return Record{}, nil
	}
	record, err := decodeRecord([]byte(text))
	if err != nil {
		return Record{}, fmt.Errorf("the ownership record is not readable: %w", err)
	}
	return record, nil
}

func decodeRecord(text []byte) (Record, error) {
	var encoded encodedRecord
	if err := json.Unmarshal(text, &encoded); err != nil {
		return Record{}, err
	}
	if encoded.Format != recordFormat {
		return Record{}, fmt.Errorf("it has format %d, this version reads %d", encoded.Format, recordFormat)
	}
	if err := encoded.unpack(); err != nil {
		return Record{}, err
	}
	tags, err := decodeNode(encoded.Tags, 0)
	if err != nil {
		return Record{}, err
	}
	desired, err := decodeNode(encoded.Desired, 0)
	if err != nil {
		return Record{}, err
	}
	about := Target{Host: encoded.Host, DeviceID: encoded.DeviceID, ModuleID: encoded.ModuleID, Owner: encoded.Owner}
	return Record{Target: about, tags: tags, desired: desired}, nil
}

func (e encodedRecord) pack() ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(zip).Encode(e.encodedSections); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	e.encodedSections, e.Packed = encodedSections{}, out.Bytes()
	return json.Marshal(e)
}

func (e *encodedRecord) unpack() error {
	if len(e.Packed) == 0 {
		return nil
	}
	zip, err := gzip.NewReader(bytes.NewReader(e.Packed))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(zip, maxUnpacked))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &e.encodedSections)
}

func (n *node) encode() any {
	if n.empty() {
		return nil
	}
	own := n.encodeOwn()
	members := make(map[string]any, len(n.children)+1)
	for key, child := range n.children {
		if !child.empty() {
			members[key] = child.encode()
		}
	}
	if len(members) == 0 {
		return own
	}
	if own != "" {
		members[ownKey] = own
	}
	return members
}

// encodeOwn spells what the record says of the key itself: hashes, and behind a
// mark the hash of the value that gave way or is replaced.
func (n *node) encodeOwn() string {
	own := strings.Join(n.hashes, "")
	switch {
	case n.yielded != "":
		own += yieldedMark + n.yielded
	case n.replaces != "":
		own += replacesMark + n.replaces
	}
	return own
}

func decodeNode(encoded any, level int) (*node, error) {
	if level > maxLevel+1 {
		return nil, fmt.Errorf("it is deeper than %d levels", maxLevel+1)
	}
	switch encoded := encoded.(type) {
	case nil:
		return nil, nil
	case string:
		return decodeOwn(encoded)
	case map[string]any:
		out := &node{}
		for key, member := range encoded {
			child, err := decodeNode(member, level+1)
			switch {
			case err != nil:
				return nil, err
			case key == ownKey && child != nil:
				out.hashes, out.yielded, out.replaces = child.hashes, child.yielded, child.replaces
			case child != nil:
				out.put(key, child)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %T stands where hashes are expected", encoded)
}

func decodeOwn(own string) (*node, error) {
	own, yielded, _ := strings.Cut(own, yieldedMark)
	own, replaces, _ := strings.Cut(own, replacesMark)
	for _, marked := range []string{yielded, replaces} {
		if marked != "" && len(marked) != hashLength {
			return nil, fmt.Errorf("a marked hash has %d characters, want %d", len(marked), hashLength)
		}
	}
	hashes, err := decodeHashes(own)
	return &node{hashes: hashes, yielded: yielded, replaces: replaces}, err
}

func decodeHashes(own string) ([]string, error) {
	if len(own)%hashLength != 0 {
		return nil, fmt.Errorf("%d characters of hashes are no multiple of %d", len(own), hashLength)
	}
	var hashes []string
	for hash := range slices.Chunk([]byte(own), hashLength) {
		hashes = append(hashes, string(hash))
	}
	return hashes, nil
}
