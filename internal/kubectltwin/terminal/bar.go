package terminal

import "strings"

// Part of a bar: so many of the whole, shown by a sign.
type Part struct {
	Sign  string
	Count int64
}

// Bar shows how much of a whole its parts are, in a row of signs as wide as it says: "[####!.....]", with a dot for what is
// no part. What is there has one sign at least, so that one failure among a million is seen, and no row is full of one
// sign while anything else is left.
func Bar(width int, whole int64, parts ...Part) string {
	counts := make([]int64, 0, len(parts)+1)
	signs := make([]string, 0, len(parts)+1)
	left := max(0, whole)
	for _, part := range parts {
		count := min(max(0, part.Count), left)
		left -= count
		counts, signs = append(counts, count), append(signs, part.Sign)
	}
	counts, signs = append(counts, left), append(signs, ".")
	var row strings.Builder
	for i, n := range shares(width, counts) {
		row.WriteString(strings.Repeat(signs[i], n))
	}
	return "[" + row.String() + strings.Repeat(".", width-row.Len()) + "]"
}

// shares spreads so many places over counts: one for each that is not zero, and the rest by size, those that
// are closest to one more first.
func shares(width int, counts []int64) []int {
	places, sum, present := make([]int, len(counts)), int64(0), 0
	for _, count := range counts {
		sum += count
		if count > 0 {
			present++
		}
	}
	if sum == 0 || present > width {
		return places
	}
	exact := make([]float64, len(counts))
	used := 0
	for i, count := range counts {
		exact[i] = float64(count) / float64(sum) * float64(width)
		if count > 0 {
			places[i] = max(1, int(exact[i]))
			used += places[i]
		}
	}
	for ; used != width; used += step(width - used) {
		most := -1
		for i, count := range counts {
			if count == 0 || used > width && places[i] == 1 {
				continue
			}
			if most < 0 || lacks(exact[i], places[i], width-used) > lacks(exact[most], places[most], width-used) {
				most = i
			}
		}
		places[most] += step(width - used)
	}
	return places
}

// lacks is how far a share is from its size in the direction of what is to be spread.
func lacks(exact float64, places, left int) float64 {
	return (exact - float64(places)) * float64(step(left))
}

func step(left int) int {
	if left < 0 {
		return -1
	}
	return 1
}
