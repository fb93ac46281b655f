package stats_test

import (
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	values := []int{5, 1, 4, 2, 3}
	for part, want := range map[float64]int{0: 1, 0.2: 1, 0.5: 3, 0.8: 4, 0.81: 5, 0.99: 5, 1: 5} {
		if got := stats.Quantile(values, part); got != want {
			t.Errorf("quantile %v is %d, not %d", part, got, want)
		}
	}
	if got := stats.Median([]int{4, 1, 3, 2}); got != 2 {
		t.Errorf("the median of four is %d, not 2", got)
	}
	if values[0] != 5 {
		t.Error("the values were sorted in place")
	}
}
