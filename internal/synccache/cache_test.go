package synccache_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/synccache"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

// object is a DeviceTwin of a name that nothing is known of.
func object(uid types.UID) *v1alpha1.DeviceTwin {
	obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "t1", UID: uid, Generation: 1}}
	obj.Spec.DeviceID = "d1"
	return obj
}

// fixture is a cache that knows nothing, with its clock, and the hub of the objects.
func fixture() (*clocktesting.FakePassiveClock, *synccache.Cache, hubaccess.Hub) {
	fake := clocktesting.NewFakePassiveClock(time.Now())
	return fake, synccache.New(fake), hubaccess.Hub{Session: sessions.To("hub.azure-devices.net", nil)}
}

func TestWhatIsKnownOfAnObject(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, cache, found := fixture()
	obj := object("first")
	name := client.ObjectKeyFromObject(obj)

	g.Expect(cache.UpToDate(obj, found)).To(BeFalse(), "its status says nothing")
	obj.Status.Record = "a record"
	cache.Set(obj, found, synccache.Schedule{})
	g.Expect(cache.UpToDate(obj, found)).To(BeTrue())
	g.Expect(cache.UID(name)).To(Equal(obj.UID))
	g.Expect(cache.UpToDate(object("namesake"), found)).To(BeFalse(), "another object of that name")

	obj.Status.Record = ""
	g.Expect(cache.LostRecord(obj)).To(BeTrue())
	g.Expect(cache.UpToDate(obj, found)).To(BeFalse())
	cache.Invalidate(obj)
	g.Expect(cache.LostRecord(obj)).To(BeTrue(), "it was not reported yet")
	cache.LossReported(obj)
	g.Expect(cache.LostRecord(obj)).To(BeFalse())
	g.Expect(cache.UpToDate(obj, found)).To(BeFalse(), "it was invalidated")

	cache.Set(obj, found, synccache.Schedule{})
	obj.Generation++
	g.Expect(cache.UpToDate(obj, found)).To(BeFalse(), "another declaration")
	cache.Forget(name, obj.UID)
	g.Expect(cache.UID(name)).To(BeEmpty())
}

func TestAScheduleIsKept(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	fake, cache, found := fixture()
	obj := object("uid")
	at := func(minutes int) time.Time { return fake.Now().Add(time.Duration(minutes) * time.Minute) }
	again := synccache.Schedule{Reread: at(2), Secret: at(1)}
	again.AskAt(at(4))
	again.AskAt(at(3))
	again.AskAt(at(5))
	cache.Set(obj, found, again)

	g.Expect(cache.Due(obj)).To(Equal(time.Minute))
	fake.SetTime(at(1))
	g.Expect(cache.SecretDue(obj)).To(BeTrue())
	g.Expect(cache.RereadDue(obj)).To(BeFalse())
	cache.SecretExists(obj, time.Hour)
	g.Expect(cache.SecretDue(obj)).To(BeFalse())
	g.Expect(cache.Due(obj)).To(Equal(time.Minute))
	fake.SetTime(at(1))
	g.Expect(cache.RereadDue(obj)).To(BeTrue())
	g.Expect(cache.UpToDate(obj, found)).To(BeTrue())
	fake.SetTime(at(1))
	g.Expect(cache.UpToDate(obj, found)).To(BeFalse(), "the soonest time to ask counts")
	cache.Invalidate(obj)
	g.Expect(cache.Due(obj)).To(BeZero())
}
