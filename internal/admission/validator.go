package admission

import (
	"cmp"
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// validator answers the API server for one kind.
type validator[T client.Object] struct {
	kind string
	// check returns warnings, and what is wrong.
	check func(T) ([]string, field.ErrorList)
}

// ValidateCreate implements admission.Validator.
func (v *validator[T]) ValidateCreate(_ context.Context, obj T) (admission.Warnings, error) {
	warnings, errs := v.check(obj)
	if len(errs) == 0 {
		return warnings, nil
	}
	name := cmp.Or(obj.GetName(), obj.GetGenerateName())
	return warnings, apierrors.NewInvalid(v1alpha1.SchemeGroupVersion.WithKind(v.kind).GroupKind(), name, errs)
}

// ValidateUpdate implements admission.Validator. Rules on what may change are the
// schema's.
func (v *validator[T]) ValidateUpdate(ctx context.Context, _, after T) (admission.Warnings, error) {
	return v.ValidateCreate(ctx, after)
}

// ValidateDelete implements admission.Validator. The API server does not ask.
func (v *validator[T]) ValidateDelete(context.Context, T) (admission.Warnings, error) {
	return nil, nil
}
