package config_test

import (
	"regexp"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var selectorVariable = regexp.MustCompile(`^--watch-label-selector=\$\(([A-Z_]+)\)$`)

// watched is the selector that a manager gets: its flag names a variable.
func watched(t *testing.T, container corev1.Container) labels.Selector {
	t.Helper()
	g := NewWithT(t)
	for _, arg := range container.Args {
		if found := selectorVariable.FindStringSubmatch(arg); found != nil {
			for _, variable := range container.Env {
				if variable.Name == found[1] {
					selector, err := labels.Parse(variable.Value)
					g.Expect(err).NotTo(HaveOccurred())
					return selector
				}
			}
		}
	}
	t.Fatalf("no --watch-label-selector with a variable that is set in %v", container.Args)
	return nil
}

// TestShardsDivideTheFleet: each object is of just one shard, the webhooks are served
// by a manager that has their certificate, and no Deployment selects another's pods.
func TestShardsDivideTheFleet(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	objects := build(t, "config/shards")
	first := find[appsv1.Deployment](t, objects, "Deployment", "manager")
	second := find[appsv1.Deployment](t, objects, "Deployment", "manager-shard1")
	for _, set := range []labels.Set{{}, {"iothub.devicetwin.io/shard": "shard1"}} {
		keepers := 0
		for _, d := range []appsv1.Deployment{first, second} {
			if watched(t, d.Spec.Template.Spec.Containers[0]).Matches(set) {
				keepers++
			}
		}
		g.Expect(keepers).To(Equal(1), "%v", set)
	}
	g.Expect(leases(t, objects)).To(ConsistOf(lease(t, "!iothub.devicetwin.io/shard", ""), lease(t, "iothub.devicetwin.io/shard=shard1", "")))
	whole := find[appsv1.Deployment](t, build(t, "config/default"), "Deployment", "manager")
	g.Expect(watched(t, whole.Spec.Template.Spec.Containers[0]).Empty()).To(BeTrue())

	g.Expect(second.Spec.Template.Spec.ServiceAccountName).To(Equal(first.Spec.Template.Spec.ServiceAccountName))
	pods := func(d appsv1.Deployment) labels.Set { return d.Spec.Template.Labels }
	g.Expect(labels.SelectorFromSet(first.Spec.Selector.MatchLabels).Matches(pods(second))).To(BeFalse())
	g.Expect(labels.SelectorFromSet(second.Spec.Selector.MatchLabels).Matches(pods(second))).To(BeTrue())
	webhook := labels.SelectorFromSet(find[corev1.Service](t, objects, "Service", "webhook").Spec.Selector)
	g.Expect(webhook.Matches(pods(first))).To(BeTrue())
	g.Expect(webhook.Matches(pods(second))).To(BeFalse(), "it has no certificate")
	g.Expect(labels.SelectorFromSet(find[corev1.Service](t, objects, "Service", "shard-metrics").Spec.Selector).Matches(pods(second))).To(BeTrue())
}
