package monitoring

import (
	"regexp"
	"slices"
	"strings"
)

// Selector is what an expression selects of a metric.
type Selector struct {
	Metric string
	// Labels that it matches.
	Labels []string
}

var (
	text     = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	span     = regexp.MustCompile(`\[[^\]]*\]`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	name     = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\(|\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)`)
	operator = []string{"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring", "group_left", "group_right", "inf", "nan"}
)

// Selectors are those of an expression that Prometheus can parse.
func Selectors(expr string) (found []Selector) {
	bare := grouping.ReplaceAllString(span.ReplaceAllString(text.ReplaceAllString(expr, `""`), ""), "")
	for _, match := range name.FindAllStringSubmatch(bare, -1) {
		if match[2] == "(" || slices.Contains(operator, strings.ToLower(match[1])) {
			continue
		}
		selector := Selector{Metric: match[1]}
		for _, label := range matcher.FindAllStringSubmatch(match[2], -1) {
			selector.Labels = append(selector.Labels, label[1])
		}
		found = append(found, selector)
	}
	return found
}

// Grouped are the labels that an expression groups by.
func Grouped(expr string) (labels []string) {
	for _, match := range grouping.FindAllStringSubmatch(text.ReplaceAllString(expr, `""`), -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			if label = strings.TrimSpace(label); label != "" {
				labels = append(labels, label)
			}
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// Family is the metric that a series of an expression belongs to: a histogram has several.
func (s Selector) Family() string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if family, ok := strings.CutSuffix(s.Metric, suffix); ok {
			return family
		}
	}
	return s.Metric
}
