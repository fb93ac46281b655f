package outcome

import (
	"unicode/utf8"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// maxRequest is the schema's bound of what a status echoes of a request.
const maxRequest = 256

// Handled is what a status echoes of the request for a reconcile.
func Handled(obj client.Object) string { return Request(obj, v1alpha1.ReconcileAtAnnotation) }

// Request is what a status echoes of a request that is made in an annotation.
func Request(obj client.Object, annotation string) string {
	return Cut(obj.GetAnnotations()[annotation], maxRequest)
}

// Cut shortens a text to at most so many characters.
func Cut(text string, characters int) string {
	if utf8.RuneCountInString(text) <= characters {
		return text
	}
	return string([]rune(text)[:characters])
}
