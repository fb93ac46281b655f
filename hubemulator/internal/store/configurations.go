package store

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// maxConfigurations is how many configurations a hub holds, unless it is told
// otherwise: as many as IoT Hub's paid tiers.
const maxConfigurations = 100

// Configuration is a configuration as the service API shows it.
type Configuration struct {
	Document any
	// Etag is the configuration's etag, without quotes.
	Etag string
}

// configurationDocument has the members in the order that IoT Hub writes them.
type configurationDocument struct {
	ID              string                `json:"id"`
	SchemaVersion   *string               `json:"schemaVersion"`
	Labels          map[string]string     `json:"labels"`
	Content         configuration.Content `json:"content"`
	TargetCondition string                `json:"targetCondition"`
	Created         string                `json:"createdTimeUtc"`
	Updated         string                `json:"lastUpdatedTimeUtc"`
	Priority        int32                 `json:"priority"`
	SystemMetrics   metricsDocument       `json:"systemMetrics"`
	Metrics         metricsDocument       `json:"metrics"`
	Etag            string                `json:"etag"`
}

type metricsDocument struct {
	Results map[string]int    `json:"results"`
	Queries map[string]string `json:"queries"`
}

func viewOfConfiguration(c configuration.Configuration) Configuration {
	etag := decimalEtag(c.Writes)
	return Configuration{Etag: etag, Document: configurationDocument{
		ID: c.ID, SchemaVersion: c.SchemaVersion, Labels: c.Labels, Content: c.Content,
		TargetCondition: c.TargetCondition, Priority: c.Priority,
		Created: twindoc.FormatTime(c.Created), Updated: twindoc.FormatTime(c.Updated), Etag: etag,
		SystemMetrics: metricsDocument{orEmpty(c.SystemResults), c.SystemMetrics()},
		Metrics:       metricsDocument{orEmpty(c.Results), orEmpty(c.Metrics)},
	}}
}

// orEmpty is for maps that are shown as {} when they are nil.
func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// decimalEtag is base64 of a decimal counter.
func decimalEtag(writes uint64) string {
	return base64.StdEncoding.EncodeToString(strconv.AppendUint(nil, writes, 10))
}

// Configuration returns the configuration with that id.
func (s *Store) Configuration(id string) (Configuration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, known := s.configurations[id]
	if !known {
		return Configuration{}, configurationNotFound(id)
	}
	return viewOfConfiguration(found), nil
}

// Configurations returns all configurations as the service API shows them, in
// the order of their creation.
func (s *Store) Configurations() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	documents := make([]any, 0, len(s.configurations))
	for _, c := range s.configurationsInOrder() {
		documents = append(documents, viewOfConfiguration(c).Document)
	}
	return documents
}

// configurationsInOrder lists configurations in the order of their creation.
func (s *Store) configurationsInOrder() []configuration.Configuration {
	return slices.SortedFunc(maps.Values(s.configurations), func(a, b configuration.Configuration) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
}

// PutConfiguration creates a configuration, or updates it if ifMatch, the
// If-Match header's value, is a condition. An update takes everything from the
// body but the content: that has to be there, and stays as it was created.
func (s *Store) PutConfiguration(id, ifMatch string, body []byte) (Configuration, error) {
	var wanted configuration.Body
	if err := parseJSON(body, &wanted); err != nil {
		return Configuration{}, err
	}
	spec, err := wanted.Spec(id)
	if err == nil {
		err = checkSettable(spec.Content)
	}
	if err != nil {
		return Configuration{}, configurationRefusal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	etag, updates := configurationCondition(ifMatch)
	current, known := s.configurations[id]
	now := s.clock.Now()
	switch {
	case known && !updates:
		return Configuration{}, configurationExists(id)
	case !known && updates:
		return Configuration{}, configurationNotFound(id)
	case updates && !etagMatches(etag, decimalEtag(current.Writes)):
		return Configuration{}, preconditionFailed("PreconditionFailed")
	case updates:
		spec.Content = current.Content
		if !maps.Equal(spec.Metrics, current.Metrics) {
			current.Results = nil
		}
		current.Spec, current.Updated = spec, now
		current.Writes++
	case len(s.configurations) >= s.maxConfigurations:
		return Configuration{}, tooManyConfigurations(s.maxConfigurations)
	default:
		current = configuration.Configuration{ID: id, Spec: spec, Created: now, Updated: now, Writes: 1}
	}
	s.configurations[id] = current
	s.revision++
	s.signalConfigurations()
	return viewOfConfiguration(current), nil
}

// configurationCondition reads an If-Match value as the hub does for
// configurations: only a quoted etag and the wildcard, quoted or not, are
// conditions. Anything else is as good as none.
func configurationCondition(ifMatch string) (etag string, isCondition bool) {
	value, quoted := unquote(ifMatch)
	if value == "" || !quoted && value != "*" {
		return "", false
	}
	return value, true
}

// DeleteConfiguration removes a configuration. It needs no If-Match value. What
// the configuration did to desired properties stays; its status goes.
func (s *Store) DeleteConfiguration(id, ifMatch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, known := s.configurations[id]
	if !known {
		return configurationNotFound(id)
	}
	if etag, isCondition := configurationCondition(ifMatch); isCondition && !etagMatches(etag, decimalEtag(current.Writes)) {
		return preconditionFailed("PreconditionFailed")
	}
	delete(s.configurations, id)
	s.revision++
	for _, device := range s.devices {
		device.each(func(e *entry) { s.forgetStatus(e, id) })
	}
	s.signalConfigurations()
	return nil
}

// TestConfigurationQueries checks a target condition and the queries of custom
// metrics without a configuration. An error means that the body says neither.
func TestConfigurationQueries(body []byte) (configuration.QueryTestResult, error) {
	var test configuration.QueryTest
	if err := parseJSON(body, &test); err != nil {
		return configuration.QueryTestResult{}, err
	}
	return test.Run(), nil
}

// HasConfigurations reports whether there is anything to evaluate.
func (s *Store) HasConfigurations() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.configurations) > 0
}

// ConfigurationsWritten has a value after a configuration was created, updated
// or deleted, one for all that happened since the last was taken.
func (s *Store) ConfigurationsWritten() <-chan struct{} { return s.configurationsWritten }

func (s *Store) signalConfigurations() {
	select {
	case s.configurationsWritten <- struct{}{}:
	default: // a value is there already
	}
}

// configurationRefusal words what is wrong with a configuration as the hub does.
func configurationRefusal(err error) error {
	wrong, isInvalid := errors.AsType[*configuration.InvalidError](err)
	if !isInvalid {
		return err
	}
	switch wrong.Part {
	case configuration.TargetCondition:
		return &Error{http.StatusBadRequest, 400401, "InvalidConfigurationTargetCondition", wrong.Problem}
	case configuration.InContent:
		return invalidContent(wrong.Problem)
	case configuration.Metrics:
		return &Error{http.StatusBadRequest, 400404, "InvalidConfigurationCustomMetricsQuery", wrong.Problem}
	default:
		return invalidArgument("%s", wrong.Problem)
	}
}

func invalidContent(problem string) *Error {
	return &Error{http.StatusBadRequest, 400402, "InvalidConfigurationContent", problem}
}

func configurationNotFound(id string) *Error {
	return &Error{http.StatusNotFound, 404301, "ConfigurationNotFound", fmt.Sprintf("Configuration with id '%s' does not exist on IotHub.", id)}
}

func configurationExists(id string) *Error {
	return &Error{http.StatusConflict, 409401, "ConfigurationAlreadyExists", fmt.Sprintf("Configuration with id '%s' already exist on IotHub.", id)}
}

func tooManyConfigurations(limit int) *Error {
	return &Error{http.StatusRequestEntityTooLarge, 413101, "ConfigurationCountLimitExceeded", fmt.Sprintf("The hub should have maximum %d configurations.", limit)}
}
