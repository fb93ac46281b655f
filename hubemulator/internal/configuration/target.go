package configuration

import (
	"errors"
	"regexp"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Target is a parsed target condition.
type Target struct {
	ofModules bool
	all       bool
	condition *query.Condition // nil for all, and for none
}

const everything = "*"

// fromModules is how the condition of a moduleContent begins.
var fromModules = regexp.MustCompile(`(?is)^\s*FROM\s+devices\.modules\s+WHERE\s+(.*)$`)

// ParseTarget parses a target condition: the text behind WHERE, or "*" for all
// devices, or "FROM devices.modules WHERE" and a condition on modules. The empty
// text selects nothing. Its errors are of type *InvalidError.
func ParseTarget(text string) (Target, error) {
	if text == "" || text == everything {
		return Target{all: text == everything}, nil
	}
	var target Target
	if match := fromModules.FindStringSubmatch(text); match != nil {
		target.ofModules, text = true, match[1]
	}
	var err error
	if target.condition, err = query.ParseCondition(text); err != nil {
		return Target{}, invalid(TargetCondition, "The target condition is no condition: %v", err)
	}
	for _, path := range target.condition.Paths() {
		if !target.allows(path) {
			return Target{}, invalid(TargetCondition, "The target condition should name deviceId, tags and properties.reported only, or in one on modules also moduleId")
		}
	}
	return target, nil
}

func (t Target) allows(path []string) bool {
	switch path[0] {
	case "deviceId", "tags":
		return true
	case "moduleId":
		return t.ofModules
	}
	return len(path) > 1 && slices.Equal(path[:2], []string{"properties", "reported"})
}

// Target parses the configuration's target condition, which has to suit its
// content. Its errors are of type *InvalidError.
func (s Spec) Target() (Target, error) {
	target, err := ParseTarget(s.TargetCondition)
	if err != nil {
		return Target{}, err
	}
	wantsModules := s.Content.Kind() == Modules
	switch {
	case s.TargetCondition == "":
		return target, nil
	case wantsModules && !target.ofModules:
		return Target{}, invalid(TargetCondition, "The target condition of a moduleContent should begin with FROM devices.modules WHERE")
	case target.ofModules && !wantsModules:
		return Target{}, invalid(TargetCondition, "A target condition on devices.modules is for a moduleContent only")
	}
	return target, nil
}

// Selects reports whether the target condition selects the twin, which has to
// be one of a module if the condition is on modules.
func (t Target) Selects(twin query.Document) bool {
	return t.all || t.condition != nil && t.condition.Selects(twin)
}

// allDevices is a query of metrics that tests of az create configurations with:
// it names no collection.
var allDevices = regexp.MustCompile(`(?i)^\s*SELECT\s+\*\s*$`)

// ParseMetric parses the query of a metric: one over devices or their modules.
// Without a collection, it is taken for one over devices.
func ParseMetric(text string) (*query.Query, error) {
	if allDevices.MatchString(text) {
		text += " FROM devices"
	}
	parsed, err := query.Parse(text)
	if err == nil && parsed.Jobs() {
		return nil, errors.New("a metric should be a query over devices or devices.modules")
	}
	return parsed, err
}

// QueryTest is what a client wants to have tested before it writes a configuration.
type QueryTest struct {
	TargetCondition     string            `json:"targetCondition"`
	CustomMetricQueries map[string]string `json:"customMetricQueries"`
}

// QueryTestResult says what is wrong with what was tested.
type QueryTestResult struct {
	TargetConditionError    *string           `json:"targetConditionError"`
	CustomMetricQueryErrors map[string]string `json:"customMetricQueryErrors"`
}

// Run tests. Unlike in a configuration, "*" is refused: IoT Hub was seen to do so.
func (q QueryTest) Run() QueryTestResult {
	result := QueryTestResult{CustomMetricQueryErrors: map[string]string{}}
	_, err := ParseTarget(q.TargetCondition)
	if q.TargetCondition == everything {
		err = invalid(TargetCondition, "'*' is no condition that can be tested")
	}
	if err != nil {
		problem := err.Error()
		result.TargetConditionError = &problem
	}
	for name, text := range q.CustomMetricQueries {
		if _, err := ParseMetric(text); err != nil {
			result.CustomMetricQueryErrors[name] = err.Error()
		}
	}
	return result
}
