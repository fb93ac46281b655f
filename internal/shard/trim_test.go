package shard_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
)

func TestWhatIsCachedIsTrimmed(t *testing.T) {
	t.Parallel()
	trim := shard.Shard{}.Cached(cache.Options{}).DefaultTransform
	bare := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Name: "t1"}}
	full := bare.DeepCopy()
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	full.Status.History = []v1alpha1.TwinWrite{{Cause: v1alpha1.WriteCauseEdit}}
	full.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "a": "b"}
	kept := bare.DeepCopy()
	kept.Annotations = map[string]string{"a": "b"}
	request := &v1alpha1.TwinRequest{Status: v1alpha1.TwinRequestStatus{ObservedGeneration: 1}}
	answered := request.DeepCopy()
	answered.Status.Query, answered.Status.Plan = &v1alpha1.TwinRequestRows{}, &v1alpha1.TwinRequestPlanned{}
	gone := toolscache.DeletedFinalStateUnknown{Key: "default/t1", Obj: bare}
	for name, tt := range map[string]struct{ in, want any }{
		"all that is not read goes": {full, kept},
		"no annotations":            {bare.DeepCopy(), bare},
		"an answer":                 {answered, request},
		"a tombstone":               {gone, gone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := trim(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
