package claim

import (
	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// Wanted tells whether a DeviceTwin writes to its twin, or has something there that
// it wrote: one that only shows the twin keeps it from no other one.
func Wanted(obj *v1alpha1.DeviceTwin) bool { return Writes(obj) || Wrote(obj) }

// Writes tells whether what a DeviceTwin declares may ever be written. Of one that is
// not valid that is not known.
func Writes(obj *v1alpha1.DeviceTwin) bool {
	if obj.Spec.Registration == v1alpha1.RegistrationCreate {
		return true
	}
	declared, errs := validation.DeviceTwin(obj)
	return len(errs) > 0 || declared.Policies.Write(declared.Document)
}

// Wrote tells whether an object's own record says that something was written for it.
func Wrote(obj *v1alpha1.DeviceTwin) bool {
	record, err := twin.DecodeRecord(obj.Status.Record)
	return err == nil && record.Target.Owner == string(obj.UID) && !record.Empty()
}

// keeps tells whether an object is recorded as the one that keeps a twin.
func keeps(obj *v1alpha1.DeviceTwin, target string) bool {
	return fieldindex.SameTarget(obj.Status.Target) == target
}

// CleansUp tells whether the hub is to be cleaned up behind an object.
func CleansUp(obj *v1alpha1.DeviceTwin) bool {
	return obj.Spec.DeletionPolicy == v1alpha1.DeletionClear || obj.Spec.DeletionPolicy == v1alpha1.DeletionDelete
}
