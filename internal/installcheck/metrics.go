package installcheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"
)

// aMetric is one that every manager serves, the standbys included.
const aMetric = "go_info"

// metrics reads the metrics as Prometheus would.
func (c *checker) metrics(ctx context.Context) (string, error) {
	families := 0
	for _, address := range c.MetricsURLs {
		n, err := c.scrape(ctx, address)
		if err != nil {
			return "", fmt.Errorf("%s: %w", address, err)
		}
		families += n
	}
	return fmt.Sprintf("%d are served by %d of %d Services", families, len(c.MetricsURLs), len(c.MetricsURLs)), nil
}

func (c *checker) scrape(ctx context.Context, address string) (int, error) {
	transport, err := c.transport(address)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, fmt.Errorf("nothing answers: %w: are the managers' Pods Ready, and does a NetworkPolicy keep others out", errors.Unwrap(err))
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or is of no use
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusInternalServerError:
		return 0, fmt.Errorf("the manager does not accept the token (%s): has the manager's account the role with tokenreviews and subjectaccessreviews (rbac.create)", answer.Status)
	case http.StatusForbidden:
		return 0, fmt.Errorf("the token may not read metrics (%s): bind its account to the ClusterRole whose name ends with metrics-reader", answer.Status)
	default:
		return 0, fmt.Errorf("the manager answers %s: see its log", answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return 0, fmt.Errorf("the answer is no text of Prometheus: %w: does the address lead to the manager", err)
	}
	if families[aMetric] == nil {
		return 0, fmt.Errorf("there is no %s among the %d metrics: does the address lead to the manager", aMetric, len(families))
	}
	return len(families), nil
}

// transport shows the token over TLS only. The manager signs the certificate of
// its metrics itself, anew each time it starts, so that none could be trusted.
func (c *checker) transport(address string) (http.RoundTripper, error) {
	to, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.TLSClientConfig = rest.TLSClientConfig{Insecure: true}
	if to.Scheme == "https" {
		config.BearerToken, config.BearerTokenFile = c.Config.BearerToken, c.Config.BearerTokenFile
	}
	return rest.TransportFor(config)
}
