package conditionmetrics

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

func twin(name, hub string, conditions ...metav1.Condition) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name}}
	obj.Spec.HubRef.Name = hub
	obj.Status.Conditions = conditions
	return obj
}

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason}
}

// TestObjectsAreCountedByTheirConditions, moved from one series to another as they change, and
// leave none behind.
func TestObjectsAreCountedByTheirConditions(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	leading := make(chan struct{})
	c := New(Options{Leading: leading, Host: func(conn types.NamespacedName) string {
		if conn.Name == "lost" || conn.Name == "" {
			return "unproved"
		}
		return conn.Name + ".example"
	}})
	twins, hubs := c.handler("DeviceTwin"), c.handler("HubConnection")
	ready := twin("a", "hub", condition("Ready", metav1.ConditionTrue, "Succeeded"), condition("Acknowledged", metav1.ConditionFalse, "AwaitingDevice"))
	fresh, elsewhere := twin("b", "hub"), twin("c", "lost")
	outsider := twin("d", "hub", condition("Ready", metav1.ConditionFalse, "HubNotAllowed"))
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "hub"}}
	for _, obj := range []any{ready, fresh, elsewhere, outsider} {
		twins.OnAdd(obj, true)
	}
	hubs.OnAdd(conn, true)
	g.Expect(testutil.CollectAndCount(c)).To(BeZero(), "it stands by")
	close(leading)
	stalled := twin("b", "hub", condition("Ready", metav1.ConditionFalse, "DeviceNotFound"))
	twins.OnUpdate(fresh, stalled)
	twins.OnUpdate(ready, ready)
	g.Expect(testutil.CollectAndCompare(c, strings.NewReader(`
# HELP devicetwin_objects HubConnections, DeviceTwins, DeviceTwinSets and TwinQueries by their conditions, as the leader's cache has them.
# TYPE devicetwin_objects gauge
devicetwin_objects{condition="Acknowledged",host="hub.example",kind="DeviceTwin",reason="AwaitingDevice",status="False"} 1
devicetwin_objects{condition="Ready",host="hub.example",kind="DeviceTwin",reason="DeviceNotFound",status="False"} 1
devicetwin_objects{condition="Ready",host="hub.example",kind="DeviceTwin",reason="Succeeded",status="True"} 1
devicetwin_objects{condition="Ready",host="hub.example",kind="HubConnection",reason="NotReconciled",status="Unknown"} 1
devicetwin_objects{condition="Ready",host="unproved",kind="DeviceTwin",reason="HubNotAllowed",status="False"} 1
devicetwin_objects{condition="Ready",host="unproved",kind="DeviceTwin",reason="NotReconciled",status="Unknown"} 1
`))).To(Succeed())
	twins.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "plant/a", Obj: ready})
	twins.OnDelete(stalled)
	twins.OnDelete(elsewhere)
	twins.OnDelete(outsider)
	hubs.OnDelete(conn)
	g.Expect(testutil.CollectAndCount(c)).To(BeZero())
	g.Expect(c.counts).To(BeEmpty())
}
