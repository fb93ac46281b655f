package bounds_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	all := []bounds.Bound{
		bounds.None("calls", 0), bounds.None("losses", 2),
		bounds.AtMost("time", "%.1f s", 1.5, 1.5), bounds.AtMost("size", "%.0f KB", 7, 6),
		bounds.AtLeast("rate", "%.2f", 0.95, 0.95), bounds.AtLeast("share", "%.2f", 0.94, 0.95),
	}
	want := []bounds.Bound{
		{What: "calls", Measured: "0", Wanted: "0", Held: true},
		{What: "losses", Measured: "2", Wanted: "0"},
		{What: "time", Measured: "1.5 s", Wanted: "at most 1.5 s", Held: true},
		{What: "size", Measured: "7 KB", Wanted: "at most 6 KB"},
		{What: "rate", Measured: "0.95", Wanted: "at least 0.95", Held: true},
		{What: "share", Measured: "0.94", Wanted: "at least 0.95"},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("bounds (-want +got):\n%s", diff)
	}
	err := bounds.Missed(all)
	if err == nil {
		t.Fatal("three bounds were missed")
	}
	lines := strings.Split(err.Error(), "\n")
	if diff := cmp.Diff([]string{
		"bound missed: losses: 2, wanted 0", "bound missed: size: 7 KB, wanted at most 6 KB", "bound missed: share: 0.94, wanted at least 0.95",
	}, lines); diff != "" {
		t.Errorf("what was missed (-want +got):\n%s", diff)
	}
	if err := bounds.Missed(all[:1]); err != nil {
		t.Errorf("nothing was missed, and yet: %v", err)
	}
	var table strings.Builder
	bounds.WriteTable(&table, all[:2])
	if got := table.String(); !strings.HasSuffix(got, "| calls | 0 | 0 | held |\n| losses | 2 | 0 | **missed** |\n") {
		t.Errorf("the table is\n%s", got)
	}
}
