package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// answer has a hub give one page to every query.
func answer(t *testing.T, page string) *session {
	t.Helper()
	return mustOpen(t, pretend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) }))
}

// TestRowsThatCannotBeUsedAreLeftOut, and told of, whatever is wrong with them: the others are used.
func TestRowsThatCannotBeUsedAreLeftOut(t *testing.T) {
	t.Parallel()
	const good = `{"deviceId":"good","etag":"AAAAAAAAAAE=","version":2,"properties":{"reported":{"n":1e400}}}`
	for name, tt := range map[string]struct{ row, told string }{
		"an id that means a directory": {`{"deviceId":"..","etag":"AAAAAAAAAAE=","version":2}`, ".."},
		"an id that is too long":       {`{"deviceId":"` + strings.Repeat("a", 129) + `","etag":"x","version":2}`, strings.Repeat("a", 128) + "…"},
		"an id that cannot be shown":   {`{"deviceId":"a\u0007b","moduleId":"m","etag":"x","version":2}`, "a\ufffdb/m"},
		"no etag":                      {`{"deviceId":"bad","version":2}`, "bad"},
		"an etag that is no text":      {`{"deviceId":"bad","etag":7,"version":2}`, "bad"},
		"nothing":                      {`null`, ""},
		"no object":                    {`[1]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			s := answer(t, "["+tt.row+","+good+"]")
			var told []string
			unreadable := func(row Unreadable) { told = append(told, row.Name) }
			var seen []ID
			g.Expect(s.FindRows(t.Context(), RowSelection{From: Devices, Unreadable: unreadable}, func(page []IndexRow) error {
				for _, one := range page {
					seen = append(seen, one.ID)
				}
				return nil
			})).To(Succeed())
			g.Expect(s.FindTwins(t.Context(), Devices, []string{"good", "bad"}, func(twin *Twin) {
				seen = append(seen, twin.ID)
				g.Expect(twin.Reported["n"]).To(Equal(json.Number("1e400")))
			}, unreadable)).To(Succeed())
			g.Expect(seen).To(Equal(deviceIDs("good", "good")))
			g.Expect(told).To(Equal([]string{tt.told, tt.told}))
			g.Expect(s.FindIDs(t.Context(), Selection{From: Devices, Where: "true = true"}, func([]ID) error { return nil })).To(Succeed())
		})
	}
}

// TestRowsThatWereLeftOutAreCounted by host.
func TestRowsThatWereLeftOutAreCounted(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	metrics := NewMetrics()
	cfg := pretend(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"deviceId":".."},{"deviceId":"."},{"deviceId":"a"}]`)
	})
	cfg.Metrics = metrics
	s := mustOpen(t, cfg)
	ids, err := allIDs(t.Context(), s, Devices, "true = true")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids).To(Equal(deviceIDs("a")))
	g.Expect(testutil.ToFloat64(metrics.unreadable.WithLabelValues(s.Host()))).To(Equal(2.0))
}

// TestPagesThatAreTooLargeAreAskedForInSmallerOnes: a hundred of more than the largest twins are read, and then larger pages are
// asked for again.
func TestPagesThatAreTooLargeAreAskedForInSmallerOnes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const twins, size = 100, 400 << 10
	var asked []int
	large := strings.Repeat("v", size-1024)
	cfg := pretend(t, func(w http.ResponseWriter, r *http.Request) {
		rows, err := strconv.Atoi(r.Header.Get(pageSizeHeader))
		if err != nil {
			t.Errorf("page size: %v", err)
		}
		first, _ := strconv.Atoi(r.Header.Get(continuationHeader)) // absent is 0
		if first == 0 {
			asked = append(asked, rows)
		}
		if last := first + rows; last < twins {
			w.Header().Set(continuationHeader, strconv.Itoa(last))
		}
		page := "["
		for i := first; i < min(first+rows, twins) && len(page) <= maxPageBytes; i++ { // more is not read
			page += fmt.Sprintf(`{"deviceId":"%d","etag":"AAAAAAAAAAE=","version":2,"tags":{"t":"%s"}},`, i, large)
		}
		fmt.Fprint(w, strings.TrimSuffix(page, ",")+"]")
	})
	cfg.Limits = dispatch.Limits{QueriesPerMinute: 1e6, ReadsPerSecond: 1e6, UpdatesPerSecond: 1e6}
	s := mustOpen(t, cfg)
	found := map[ID]int{}
	for range 2 {
		g.Expect(s.FindTwins(t.Context(), Devices, []string{"0"}, func(twin *Twin) { found[twin.ID]++ }, nil)).To(Succeed())
	}
	g.Expect(found).To(HaveLen(twins))
	g.Expect(asked).To(Equal([]int{100, 25, 6, 8}), "more rows than fitted are tried by and by")
	large = ""
	for range 20 {
		g.Expect(s.FindTwins(t.Context(), Devices, []string{"0"}, func(*Twin) {}, nil)).To(Succeed())
	}
	g.Expect(asked[len(asked)-1]).To(Equal(PageRows))

	large = strings.Repeat("v", maxPageBytes)
	err := s.FindTwins(t.Context(), Devices, []string{"0"}, func(*Twin) {}, nil)
	g.Expect(asError(t, err).Reason).To(Equal(ReasonUnexpectedAnswer))
	g.Expect(asked[len(asked)-1]).To(Equal(1), "there is no smaller page")
}
