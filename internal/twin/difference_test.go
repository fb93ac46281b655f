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
	for _, path := range []string{"desired.wifi.pwd", "desired.wpaKey", "tags.pin", "desired.AppSKey"} {
		at, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Difference{Path: at, Declared: "hunter2", Held: "letmein"}).String(); got != path+" (declared "+hidden+", held "+hidden+")" {
			t.Error(got)
		}
	}
	path, err := ParsePath("desired.level")
	if err != nil {
		t.Fatal(err)
	}
	if got := (Reply{Path: path, Code: 401, Description: connection}).String(); got != "desired.level with code 401 ("+hidden+")" {
		t.Error(got)
	}
}

// TestLongValuesAreShownWhereTheyDiffer: a message that shows twice the same beginning
// says nothing.
func TestLongValuesAreShownWhereTheyDiffer(t *testing.T) {
	t.Parallel()
	numbers := func(change map[int]any) []any {
		items := make([]any, 40)
		for i := range items {
			items[i] = float64(i)
			if changed, is := change[i]; is {
				items[i] = changed
			}
		}
		return items
	}
	long := strings.Repeat("abc efgh", 20)
	step := func(name string, hours ...any) map[string]any {
		return map[string]any{"description": long, "name": name, "hours": append([]any{}, hours...)}
	}
	for name, tt := range map[string]struct {
		declared, held any
		want           string
	}{
		"one item": {numbers(nil), numbers(map[int]any{37: "x"}), `desired.p[37] (declared 37, held "x")`},
		"the last": {numbers(nil), numbers(map[int]any{39: true}), "desired.p[39] (declared 39, held true)"},
		"two items": {numbers(nil), numbers(map[int]any{36: 0.0, 38: 0.0}),
			"desired.p from [36] on (declared [36,37,38,39], held [0,37,0,39])"},
		"more items": {numbers(nil), append(numbers(nil), 40.0, 41.0), "desired.p from [40] on (declared [], held [40,41])"},
		"fewer items, that would be shown": {numbers(nil), numbers(nil)[:3],
			"desired.p from [3] on (declared [3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,…, held [])"},
		"from the first on": {numbers(nil), numbers(map[int]any{0: 9.0, 1: 9.0})[:2],
			"desired.p (declared [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,…, held [9,9])"},
		"short ones": {[]any{1.0, 2.0}, []any{1.0, 3.0}, "desired.p (declared [1,2], held [1,3])"},
		"below": {[]any{step("a"), step("b", numbers(nil)...)}, []any{step("a"), step("b", numbers(map[int]any{20: 0.0})...)},
			"desired.p[1].hours[20] (declared 20, held 0)"},
		"a member less": {[]any{step("a")}, []any{map[string]any{"description": long, "name": "a"}},
			"desired.p[0].hours (declared [], held nothing)"},
		"a member more": {[]any{map[string]any{"description": long, "name": "a"}}, []any{step("a")},
			"desired.p[0].hours (declared nothing, held [])"},
		"a text":             {long + "1", long + "2", `desired.p (declared …"abc efgh1", held …"abc efgh2")`},
		"a text in an array": {[]any{1.0, long + "é"}, []any{1.0, long + "è"}, `desired.p[1] (declared …"bc efghé", held …"bc efghè")`},
		"other kinds":        {numbers(nil), "x", "desired.p (declared [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,…, held \"x\")"},
		"nothing of a credential": {[]any{long, map[string]any{"pwd": "hunter2"}}, []any{long, map[string]any{"pwd": "letmein"}},
			"desired.p (declared a value that looks like a credential, held a value that looks like a credential)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := ParsePath("desired.p")
			if err != nil {
				t.Fatal(err)
			}
			if got := (Difference{Path: path, Declared: tt.declared, Held: tt.held}).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
