// Package configuration reads IoT Hub's configurations, which stand for
// automatic device management and for IoT Edge deployments, and works out what
// several of them together want of a twin. It knows no devices; the store does.
package configuration

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Configuration is one as the hub keeps it.
type Configuration struct {
	ID string
	Spec
	Created, Updated time.Time
	// Writes counts the creation and every update; it is the etag in the open.
	Writes uint64
	// SystemResults and Results are how many rows the queries of the system's
	// and the custom metrics found, by the metrics' names. They are nil until
	// the configuration was evaluated.
	SystemResults, Results map[string]int
}

// Spec is what a client says of a configuration.
type Spec struct {
	SchemaVersion *string
	// Labels are nil, not empty, when the client gave none.
	Labels          map[string]string
	Content         Content
	TargetCondition string
	Priority        int32
	// Metrics are the queries of the custom metrics, by the metrics' names.
	Metrics map[string]string
}

// maxMetrics is how many custom metrics IoT Hub lets a configuration have.
const maxMetrics = 5

// idForm is what IoT Hub accepts as a configuration's id.
var idForm = regexp.MustCompile(`^[a-z0-9\-+%_*!']{1,128}$`)

// Body is a configuration as clients write it in JSON. The members that are the
// hub's own, such as systemMetrics, are ignored.
type Body struct {
	ID              string            `json:"id"`
	SchemaVersion   *string           `json:"schemaVersion"`
	Labels          map[string]string `json:"labels"`
	Content         Content           `json:"content"`
	TargetCondition string            `json:"targetCondition"`
	Priority        int32             `json:"priority"`
	Metrics         struct {
		Queries map[string]string `json:"queries"`
	} `json:"metrics"`
}

// Spec returns what the body says of the configuration with that id. Its
// errors are of type *InvalidError.
func (b Body) Spec(id string) (Spec, error) {
	spec := Spec{
		SchemaVersion: b.SchemaVersion, Labels: b.Labels, Content: b.Content,
		TargetCondition: b.TargetCondition, Priority: b.Priority, Metrics: b.Metrics.Queries,
	}
	if b.ID != "" && b.ID != id {
		return Spec{}, invalid(Argument, "The configuration id in the body should be the one in the path")
	}
	return spec, Configuration{ID: id, Spec: spec}.Check()
}

// Check refuses a configuration that the hub does not take. Its errors are of
// type *InvalidError.
func (c Configuration) Check() error {
	if !idForm.MatchString(c.ID) {
		return invalid(Argument, "The configuration id should be 1 to 128 characters: lower-case letters, digits and -+%%_*!'")
	}
	if c.Priority < 0 {
		return invalid(Argument, "'priority' should be 0 or more")
	}
	if err := c.Content.check(); err != nil {
		return err
	}
	if _, err := c.Target(); err != nil {
		return err
	}
	if len(c.Metrics) > maxMetrics {
		return invalid(Metrics, "'metrics.queries' should have maximum %d queries", maxMetrics)
	}
	for name, text := range c.Metrics {
		if _, err := ParseMetric(text); err != nil {
			return invalid(Metrics, "Metric '%s': %v", name, err)
		}
	}
	return nil
}

// Rank sorts configurations by precedence: what comes first wins. That is the
// one of higher priority, and the newer one of equal priority.
func Rank(all []Configuration) {
	slices.SortFunc(all, func(a, b Configuration) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
}
