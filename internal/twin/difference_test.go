package twin

import (
	"strings"
	"testing"
)

// TestMessagesShowNoCredentials: a message shows both values of a leaf, shortened,
// and nothing of what may be a credential.
func TestMessagesShowNoCredentials(t *testing.T) {
	t.Parallel()
	const (
		hidden     = "a value that looks like a credential"
		connection = "HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=hunter2hunter2="
		key        = "a2V5LW5vYm9keS1tYXktZXZlci1zZWUtMQ=="
	)
	for name, tt := range map[string]struct {
		path           string
		declared, held any
		want           string
	}{
		"plain":                 {"tags.plant", "Redmond43", "Elsewhere", `(declared "Redmond43", held "Elsewhere")`},
		"nothing":               {"tags.plant", "Redmond43", nil, `(declared "Redmond43", held nothing)`},
		"long":                  {"tags.plant", strings.Repeat("é", 100), 1.0, `(declared "` + strings.Repeat("é", 23) + `…, held 1)`},
		"a connection string":   {"tags.plant", connection, "b", "(declared " + hidden + `, held "b")`},
		"a key":                 {"tags.plant", "a", key, `(declared "a", held ` + hidden + ")"},
		"a key behind the cut":  {"tags.plant", strings.Repeat("a ", 30) + key, "b", "(declared " + hidden + `, held "b")`},
		"a key in an array":     {"tags.plant", []any{1.0, key}, []any{1.0}, "(declared " + hidden + ", held [1])"},
		"a key below":           {"tags.plant", map[string]any{"x": map[string]any{"y": key}}, 1.0, "(declared " + hidden + ", held 1)"},
		"a name below":          {"tags.plant", []any{map[string]any{"pass": 1.0, "apiKey": 2.0}}, 1.0, "(declared " + hidden + ", held 1)"},
		"a name":                {"desired.wifi.password", "a", "b", "(declared " + hidden + ", held " + hidden + ")"},
		"a name, and no value":  {"desired.wifi.password", "a", nil, "(declared " + hidden + ", held nothing)"},
		"a name above the leaf": {"desired.credentials.user", "a", "b", "(declared " + hidden + ", held " + hidden + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := ParsePath(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			texts := []string{
				Difference{Path: path, Declared: tt.declared, Held: tt.held}.String(),
				Conflict{Declared: path, Foreign: Paths{path}, Want: tt.declared, Held: tt.held}.String(),
			}
			for _, text := range texts {
				if !strings.HasPrefix(text, tt.path+" ") || !strings.HasSuffix(text, tt.want) {
					t.Errorf("%s, want %s", text, tt.want)
				}
			}
		})
	}
	path, err := ParsePath("desired.level")
	if err != nil {
		t.Fatal(err)
	}
	if got := (Reply{Path: path, Code: 401, Description: connection}).String(); got != "desired.level with code 401 ("+hidden+")" {
		t.Error(got)
	}
}
