// Package conditionmetrics counts the objects of the API by their conditions, for Prometheus.
// It follows the informers of a manager's cache, so that a scrape reads no object, and keeps
// nothing of single objects.
//
// It never names an object, and never talks to a hub.
package conditionmetrics
