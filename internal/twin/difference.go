package twin

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
)

// Difference is one declared leaf that the hub does not hold.
type Difference struct {
	Path Path
	// Declared is the value of the manifest.
	Declared any
	// Held is the value on the hub; nil when there is none.
	Held any
	// Drift tells that the declared value was on the hub before, as far as the
	// record knows: somebody else changed it since.
	Drift bool
}

// maxShownValue bounds what a message shows of one value.
const maxShownValue = 48

// String shows both values, shortened.
func (d Difference) String() string {
	return d.Path.String() + " (declared " + show(d.Path, d.Declared) + ", held " + show(d.Path, d.Held) + ")"
}

// show is what a message shows of a value at a path: nothing of what may be a
// credential, whole or in part.
func show(at Path, value any) string {
	if value == nil {
		return "nothing"
	}
	if slices.ContainsFunc(at.keys, credential.Named) || hides(value) {
		return credential.Hidden
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value that is no JSON"
	}
	return shorten(string(text), maxShownValue)
}

// hides tells whether something in a value may be a credential.
func hides(value any) bool {
	switch value := value.(type) {
	case string:
		return credential.LooksLike(value)
	case []any:
		return slices.ContainsFunc(value, hides)
	case map[string]any:
		for key, member := range value {
			if credential.Named(key) || hides(member) {
				return true
			}
		}
	}
	return false
}

// Differences are several of them.
type Differences []Difference

// String lists the first few differences and counts the others.
func (ds Differences) String() string {
	const shown = 4
	texts := make([]string, 0, shown+1)
	for i, d := range ds {
		if i == shown {
			texts = append(texts, "and "+strconv.Itoa(len(ds)-shown)+" more")
			break
		}
		texts = append(texts, d.String())
	}
	return strings.Join(texts, ", ")
}

// Paths are the paths of the differences.
func (ds Differences) Paths() Paths {
	out := make(Paths, 0, len(ds))
	for _, d := range ds {
		out = append(out, d.Path)
	}
	return out
}

// Drifted are those that somebody else made.
func (ds Differences) Drifted() Differences {
	var out Differences
	for _, d := range ds {
		if d.Drift {
			out = append(out, d)
		}
	}
	return out
}
