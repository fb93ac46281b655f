// Package validation holds the rules that a declaration has to keep before
// anything is done about it. Admission refuses what breaks them, and the
// controllers report it where nothing refused it: in the same words.
//
// It denies only what IoT Hub documents as impossible, or what cannot be read
// at all. Its errors name the field and the rule with its limit, and quote no
// value.
package validation

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// specPath is where every rule begins.
func specPath() *field.Path { return field.NewPath("spec") }

// invalid is the error of a value that breaks a rule; the value is not quoted.
func invalid(at *field.Path, rule string) *field.Error {
	return field.Invalid(at, field.OmitValueType{}, rule)
}

// Text renders errors in one line, as a condition's message needs it.
func Text(errs field.ErrorList) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}
