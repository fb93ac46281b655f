package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// revisionLength of a revision's name, in hexadecimal digits: among the thousand revisions that a set
// sees in a long life, two have one name by chance once in two million sets.
const revisionLength = 10

// Revision is one state of a set's template.
type Revision struct {
	// Name is a hash of the content: the same content is the same revision.
	Name     string
	Declared twin.Document
}

// stored is a revision as it is kept.
type stored struct {
	Tags    map[string]any `json:"tags,omitempty"`
	Desired map[string]any `json:"desired,omitempty"`
}

// NewRevision is the revision of what a template declares.
func NewRevision(declared twin.Document) (Revision, error) {
	text, err := Revision{Declared: declared}.Encode()
	if err != nil {
		return Revision{}, err
	}
	sum := sha256.Sum256(text)
	return Revision{Name: hex.EncodeToString(sum[:])[:revisionLength], Declared: declared}, nil
}

// Encode spells the content, with its keys in order.
func (r Revision) Encode() ([]byte, error) {
	text, err := json.Marshal(stored{Tags: r.Declared.Tags, Desired: r.Declared.Desired})
	if err != nil {
		return nil, fmt.Errorf("spelling a revision: %w", err)
	}
	return text, nil
}

// DecodeRevision reads what Encode wrote, with the numbers as they were written.
func DecodeRevision(text []byte) (Revision, error) {
	var content stored
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&content); err != nil {
		return Revision{}, fmt.Errorf("reading a revision: %w", err)
	}
	return NewRevision(twin.Document{Tags: content.Tags, Desired: content.Desired})
}
