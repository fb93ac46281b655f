package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func columns(t *testing.T, paths ...string) *query.Projection {
	t.Helper()
	read, err := query.ParseProjection(paths)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return read
}

// TestPagesOneByOne: each page is asked for alone, and the next one where it ended.
func TestPagesOneByOne(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"a", "b", "c"}})
	s := mustOpen(t, cfg)
	twin, err := s.GetTwin(t.Context(), ID{Device: "b"})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = s.PatchTwin(t.Context(), twin.ID, twin.ETag, Patch{Tags: map[string]any{"cost-center": 7, "other": true}, Desired: map[string]any{"n": 1}})
	g.Expect(err).NotTo(HaveOccurred())
	selection := PageSelection{
		Selection: Selection{From: Devices, Where: "IS_DEFINED(deviceId)"},
		Columns:   columns(t, "tags.[[cost-center]]", "properties.desired.n"), Rows: 2,
	}
	first, err := s.FindPage(t.Context(), selection)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(first.Rows).To(Equal([]Row{
		{ID{Device: "a"}, map[string]any{"deviceId": "a"}},
		{ID{Device: "b"}, map[string]any{
			"deviceId": "b", "tags": map[string]any{"cost-center": json.Number("7")},
			"properties": map[string]any{"desired": map[string]any{"n": json.Number("1")}},
		}},
	}))
	g.Expect(first.Continue).NotTo(BeEmpty())
	g.Expect(first.Bytes).To(BeNumerically(">", 20))
	g.Expect(server.Counters().Operations["query"].Calls).To(BeEquivalentTo(1))
	selection.Continue = first.Continue
	second, err := s.FindPage(t.Context(), selection)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(second.Rows).To(Equal([]Row{{ID{Device: "c"}, map[string]any{"deviceId": "c"}}}))
	g.Expect(second.Continue).To(BeEmpty())
	selection.Continue = "made-up"
	_, err = s.FindPage(t.Context(), selection)
	g.Expect(ReasonOf(err)).To(Equal(ReasonRefused))
}

func TestAPageOfWholeTwins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := answer(t, `[{"deviceId":"a","etag":"x","tags":{"n":1e400}},null,{"deviceId":".."}]`)
	page, err := s.FindPage(t.Context(), PageSelection{Selection: Selection{From: Devices, Where: "true = true"}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(page.Unreadable).To(Equal(2))
	g.Expect(page.Rows).To(HaveLen(1))
	g.Expect(page.Rows[0].Document).To(HaveKeyWithValue("tags", map[string]any{"n": json.Number("1e400")}))
	_, err = s.FindPage(t.Context(), PageSelection{Selection: Selection{From: Devices, Where: " "}})
	g.Expect(ReasonOf(err)).To(Equal(ReasonRefused))
	_, err = s.FindPage(t.Context(), PageSelection{Selection: Selection{From: "devices.jobs", Where: "true = true"}})
	g.Expect(ReasonOf(err)).To(Equal(ReasonRefused))
}

// TestAPageThatIsTooLongToRead is told apart: it is for the caller to ask for less.
func TestAPageThatIsTooLongToRead(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := mustOpen(t, pretend(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"deviceId":"a","etag":"x","tags":{"v":%q}}]`, strings.Repeat("v", maxPageBytes))
	}))
	_, err := s.FindPage(t.Context(), PageSelection{Selection: Selection{From: Devices, Where: "true = true"}})
	g.Expect(TooLong(err)).To(BeTrue(), "%v", err)
	g.Expect(ReasonOf(err)).To(Equal(ReasonUnexpectedAnswer))
}

func TestPageQueryLength(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	g.Expect(PageQueryLength("", nil, "a = 1")).To(Equal(len("SELECT * FROM devices WHERE (a = 1)")))
	g.Expect(PageQueryLength(Modules, columns(t, "tags"), "a = 1")).To(Equal(len("SELECT deviceId, moduleId, tags AS column1 FROM devices.modules WHERE (a = 1)")))
}
