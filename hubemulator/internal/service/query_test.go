package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

var (
	deviceIDs = []string{"a", "a ", "ab", "b", "B", "c", "d", "none"}
	moduleIDs = []string{"m", "n"}
)

// history is a hub where devices and modules came, changed and went, and whose
// queries are late or not.
func history(t *rapid.T) (*handler, *testclock.FakePassiveClock) {
	clock := testclock.NewFakePassiveClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	opts := store.Options{Clock: clock}
	if rapid.Bool().Draw(t, "late") {
		opts.QueryLag, opts.QueryGhosts = 3*time.Second, 6*time.Second
	}
	h := &handler{Config: Config{Store: store.New(opts)}}
	for range rapid.IntRange(5, 60).Draw(t, "events") {
		id := store.ID{Device: rapid.SampledFrom(deviceIDs[:7]).Draw(t, "device")}
		if rapid.Bool().Draw(t, "of a module") {
			id.Module = rapid.SampledFrom(moduleIDs).Draw(t, "module")
		}
		// What is refused, such as a module without its device, happens to no device.
		switch rapid.IntRange(0, 5).Draw(t, "event") {
		case 0:
			_ = h.Store.DeleteIdentity(id, "*")
		case 1, 2:
			_, _ = h.Store.PatchTwin(id, "", fmt.Appendf(nil, `{"tags":{"x":%d}}`, rapid.IntRange(0, 2).Draw(t, "x")))
		default:
			_, _ = h.Store.PutIdentity(id, "", []byte(`{}`))
		}
		clock.SetTime(clock.Now().Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "seconds")) * time.Second))
	}
	return h, clock
}

func conditionByID(t *rapid.T) string {
	named := func() string {
		ids := rapid.SliceOfN(rapid.SampledFrom(deviceIDs), 0, 6).Draw(t, "ids")
		if len(ids) == 1 {
			return fmt.Sprintf("deviceId = '%s'", ids[0])
		}
		text := "deviceId IN ["
		for i, id := range ids {
			if i > 0 {
				text += ", "
			}
			text += "'" + id + "'"
		}
		return text + "]"
	}
	format := rapid.SampledFrom([]string{
		"%s", "%s AND tags.x = 1", "NOT IS_DEFINED(tags.x) AND %s", "%s OR deviceId = 'c' AND tags.x != 0", "(%s AND deviceId != 'a') OR deviceId = 'b'",
	}).Draw(t, "condition")
	return fmt.Sprintf(format, named())
}

// pagesOf is what all pages of a query hold.
func pagesOf(t *rapid.T, h *handler, c call, text, size string) string {
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		t.Fatal(err)
	}
	c.body, c.header = body, http.Header{}
	c.header.Set("x-ms-max-item-count", size)
	all := rows{}
	for range 2 * len(deviceIDs) * len(moduleIDs) {
		result, err := h.runQuery(c)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, result.body.(rows)...)
		token := result.header["x-ms-continuation"]
		if token == "" {
			encoded, err := all.appendJSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			return string(encoded)
		}
		c.header.Set("x-ms-continuation", token)
	}
	t.Fatalf("%s: the pages have no end", text)
	return ""
}

// A query that names the devices finds what it would if it looked at all of
// them, in the same order, over pages of any size.
func TestQueriesByIDFindTheSame(t *testing.T) {
	t.Parallel()
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		h, clock := history(t)
		c := call{}
		if rapid.Bool().Draw(t, "frozen") {
			c.frozen = h.Store.Freeze()
		}
		columns := rapid.SampledFrom([]string{"*", "deviceId, tags.x", "COUNT() AS n", "tags.x, COUNT() AS n"}).Draw(t, "columns")
		from := rapid.SampledFrom([]string{"devices", "devices.modules"}).Draw(t, "from")
		text := fmt.Sprintf("SELECT %s FROM %s WHERE ", columns, from)
		grouped := ""
		if columns == "tags.x, COUNT() AS n" {
			grouped = " GROUP BY tags.x"
		}
		condition := conditionByID(t)
		parsed, err := query.Parse(text + condition + grouped)
		if err != nil {
			t.Fatal(err)
		}
		if _, bounded := parsed.Among("deviceId"); !bounded {
			t.Fatalf("%s is not bounded", condition)
		}
		// A negation bounds nothing, so that this one looks at everything.
		everything := text + "NOT (NOT (" + condition + "))" + grouped
		if parsed, err = query.Parse(everything); err != nil {
			t.Fatal(err)
		}
		if _, bounded := parsed.Among("deviceId"); bounded {
			t.Fatalf("%s is bounded", everything)
		}
		size := rapid.SampledFrom([]string{"1", "2", "100"}).Draw(t, "page")
		got, want := pagesOf(t, h, c, text+condition+grouped, size), pagesOf(t, h, c, everything, size)
		if got != want {
			t.Fatalf("at %v, %s found\n%s\ninstead of\n%s", clock.Now(), condition, got, want)
		}
		if !slices.Contains([]string{"[]", `[{"n":0}]`}, got) {
			found++
		}
	})
	if found == 0 {
		t.Fatal("no query found anything")
	}
}
