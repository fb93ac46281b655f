// Package stats is the arithmetic of measurements.
package stats

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Quantile is the smallest value that so large a part of the values reaches at
// most. There has to be one.
func Quantile[T cmp.Ordered](values []T, part float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(part*float64(len(sorted))))-1)]
}

// Median is the value in the middle; of an even number, the lower of the two.
func Median[T cmp.Ordered](values []T) T { return Quantile(values, 0.5) }

// Milliseconds is a time as a number of them.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
