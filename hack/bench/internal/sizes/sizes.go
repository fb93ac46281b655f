// Package sizes reads the sizes that a benchmark measures at.
package sizes

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads ascending numbers above 0, separated by commas. An error names the flag.
func Parse(flag, text string) ([]int, error) {
	var sizes []int
	for field := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(field)
		if err != nil || size < 1 || len(sizes) > 0 && size <= sizes[len(sizes)-1] {
			return nil, fmt.Errorf("--%s %q: give numbers above 0, ascending, separated by commas", flag, text)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}
