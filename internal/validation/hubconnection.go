package validation

import (
	"fmt"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// HubConnection checks what can be known of a HubConnection without its Secret
// and without the hub.
func HubConnection(obj *v1alpha1.HubConnection) field.ErrorList {
	return slices.Concat(HostName(obj), CABundle(obj), NamespaceSelector(obj))
}

// HostName checks that spec.hostName is a host name with an optional port and
// nothing else, if it is there.
func HostName(obj *v1alpha1.HubConnection) field.ErrorList {
	if obj.Spec.HostName == "" {
		return nil
	}
	if _, err := hub.ParseHostName(obj.Spec.HostName); err != nil {
		return field.ErrorList{invalid(specPath().Child("hostName"), err.Error())}
	}
	return nil
}

// CABundle checks that spec.caBundle is a list of PEM certificates, if it is
// there.
func CABundle(obj *v1alpha1.HubConnection) field.ErrorList {
	if _, err := hub.ParseCABundle(obj.Spec.CABundle); err != nil {
		rule := err.Error() + "; put PEM certificates there and nothing else"
		return field.ErrorList{invalid(specPath().Child("caBundle"), rule)}
	}
	return nil
}

// NamespaceSelector checks that spec.allowedNamespaces.selector can select
// anything, if it is there: the schema leaves its operators and labels open.
func NamespaceSelector(obj *v1alpha1.HubConnection) field.ErrorList {
	errs := metav1validation.ValidateLabelSelector(obj.Spec.AllowedNamespaces.Selector,
		metav1validation.LabelSelectorValidationOptions{}, specPath().Child("allowedNamespaces", "selector"))
	for _, err := range errs {
		err.BadValue = field.OmitValueType{}
	}
	// The labels come from a map: without an order of their own the errors would
	// read differently each time.
	slices.SortStableFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// HubConnectionDoubts says what a valid HubConnection probably does not mean. None
// of it is a reason to refuse the object.
func HubConnectionDoubts(obj *v1alpha1.HubConnection) []string {
	var doubts []string
	for i, scope := range obj.Spec.DeviceScopes {
		if len(apivalidation.ValidateNamespaceName(scope.Namespace, false)) > 0 {
			at := specPath().Child("deviceScopes").Index(i).Child("namespace")
			doubts = append(doubts, fmt.Sprintf("%s: no namespace can have this name", at))
		}
	}
	if most := unitsSold(obj.Spec.Tier.SKU); obj.Spec.Tier.Units > most {
		doubts = append(doubts, fmt.Sprintf("%s: IoT Hub sells up to %d units of %s, and more through Microsoft's support only; "+
			"a hub that has fewer than is declared refuses requests (429)", specPath().Child("tier", "units"), most, obj.Spec.Tier.SKU))
	}
	return doubts
}

// unitsSold is how many units a hub can be bought with, by IoT Hub's documentation of its tiers.
func unitsSold(sku v1alpha1.SKU) int32 {
	if sku == v1alpha1.SKUS3 {
		return 10
	}
	return 200
}
