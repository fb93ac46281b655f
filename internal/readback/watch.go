package readback

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// watchEvery is how often it is checked whether a read-back is late. What is late is told by the group's clock; this is
// only when it is checked, and costs a few comparisons for each hub.
const watchEvery = time.Second

// watch tells of read-backs that become late, and that are late no more, until ctx ends. It waits for none of them.
func (g *Group) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, key := range g.turned() {
			g.callbacks.Late(key)
		}
	}
}

// turned lists the hubs whose read-back became late since it was asked last, or is late no more.
func (g *Group) turned() (keys []types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, f := range g.hubs {
		if late := f.poller.state().Late != nil; late != f.late {
			f.late = late
			keys = append(keys, key)
		}
	}
	return keys
}

var (
	ageMetric = prometheus.NewDesc("devicetwin_readback_age_seconds",
		"How long ago the hub was last asked what moved with all of that read, the oldest of its HubConnections.", []string{"host"}, nil)
	lagMetric = prometheus.NewDesc("devicetwin_readback_index_lag_seconds",
		"How late the hub's index was seen to show a write, the longest of its HubConnections. It fades.", []string{"host"}, nil)
)

// Describe implements prometheus.Collector.
func (g *Group) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- ageMetric
	descriptions <- lagMetric
}

// Collect implements prometheus.Collector.
func (g *Group) Collect(metrics chan<- prometheus.Metric) {
	oldest, latest := map[string]time.Duration{}, map[string]time.Duration{}
	g.mu.Lock()
	for _, f := range g.hubs {
		if f.host != "" {
			oldest[f.host] = max(oldest[f.host], f.poller.age())
			latest[f.host] = max(latest[f.host], f.poller.lag())
		}
	}
	g.mu.Unlock()
	for host, age := range oldest {
		metrics <- prometheus.MustNewConstMetric(ageMetric, prometheus.GaugeValue, age.Seconds(), host)
		metrics <- prometheus.MustNewConstMetric(lagMetric, prometheus.GaugeValue, latest[host].Seconds(), host)
	}
}
