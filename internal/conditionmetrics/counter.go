package conditionmetrics

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
)

// notReconciled is the reason of objects that have no conditions yet.
const notReconciled = "NotReconciled"

var objects = prometheus.NewDesc("devicetwin_objects",
	"HubConnections, DeviceTwins, DeviceTwinSets and TwinQueries by their conditions, as the leader's cache has them.",
	[]string{"kind", "host", "condition", "status", "reason"}, nil)

// Options are what a Counter asks.
type Options struct {
	// Host is the label of the objects that refer to a HubConnection, or to none that they may use.
	Host func(conn types.NamespacedName) string
	// Leading is closed once this process acts: one that stands by has the same objects in its
	// cache, and they would be counted twice.
	Leading <-chan struct{}
}

// Counter counts objects. It is a prometheus.Collector, safe for concurrent use.
type Counter struct {
	options Options

	mu     sync.Mutex
	counts map[series]int
}

// series is what objects are counted by. Hosts are looked up when they are counted.
type series struct {
	kind                      string
	hub                       types.NamespacedName
	condition, status, reason string
}

// New returns a counter of no objects.
func New(options Options) *Counter {
	return &Counter{options: options, counts: map[series]int{}}
}

// object is a kind of this API.
type object interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// Follow counts the objects of a cache from now on. ctx bounds the setup alone.
func (c *Counter) Follow(ctx context.Context, informers cache.Informers) error {
	for kind, of := range map[string]object{
		"HubConnection": &v1alpha1.HubConnection{}, "DeviceTwin": &v1alpha1.DeviceTwin{}, "TwinQuery": &v1alpha1.TwinQuery{},
		"DeviceTwinSet": &v1alpha1.DeviceTwinSet{},
	} {
		informer, err := informers.GetInformer(ctx, of)
		if err == nil {
			_, err = informer.AddEventHandler(c.handler(kind))
		}
		if err != nil {
			return fmt.Errorf("following the %ss to count them: %w", kind, err)
		}
	}
	return nil
}

func (c *Counter) handler(kind string) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.count(kind, nil, obj) },
		UpdateFunc: func(before, now any) { c.count(kind, before, now) },
		DeleteFunc: func(obj any) {
			if unseen, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = unseen.Obj
			}
			c.count(kind, obj, nil)
		},
	}
}

// count replaces an object by what it became.
func (c *Counter) count(kind string, before, now any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(kind, before, -1)
	c.add(kind, now, 1)
}

// add has to be called with the lock held.
func (c *Counter) add(kind string, of any, n int) {
	obj, ok := of.(object)
	if !ok {
		return
	}
	in := series{kind: kind, hub: fieldindex.HubOf(obj)}
	if kind == "HubConnection" {
		in.hub = client.ObjectKeyFromObject(obj)
	}
	conditions := *obj.GetConditions()
	switch ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); {
	case ready != nil && ready.Reason == v1alpha1.ReasonHubNotAllowed:
		in.hub = types.NamespacedName{} // who may not use a hub does not count for it either
	case ready == nil:
		conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: notReconciled}}
	}
	for i := range conditions {
		in.condition, in.status, in.reason = conditions[i].Type, string(conditions[i].Status), conditions[i].Reason
		if c.counts[in] += n; c.counts[in] == 0 {
			delete(c.counts, in)
		}
	}
}

// Describe implements prometheus.Collector.
func (c *Counter) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- objects }

// Collect implements prometheus.Collector.
func (c *Counter) Collect(metrics chan<- prometheus.Metric) {
	select {
	case <-c.options.Leading:
	default:
		return
	}
	type labels struct{ kind, host, condition, status, reason string }
	sums := map[labels]int{}
	c.mu.Lock()
	for of, n := range c.counts {
		sums[labels{of.kind, c.options.Host(of.hub), of.condition, of.status, of.reason}] += n
	}
	c.mu.Unlock()
	for of, n := range sums {
		metrics <- prometheus.MustNewConstMetric(objects, prometheus.GaugeValue, float64(n), of.kind, of.host, of.condition, of.status, of.reason)
	}
}
