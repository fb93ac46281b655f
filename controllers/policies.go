package controllers

import (
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// policiesOf reads what to do about leaves that the hub does not hold.
func policiesOf(obj *v1alpha1.DeviceTwin) (twin.Policies, error) {
	policies := twin.Policies{Default: twin.Policy(obj.Spec.Policy)}
	for i, p := range obj.Spec.Policies {
		path, err := twin.ParsePath(p.Path)
		if err != nil {
			return policies, invalidTwin(fmt.Sprintf("spec.policies[%d].path: %v", i, err))
		}
		policies.Paths = append(policies.Paths, twin.PathPolicy{Path: path, Policy: twin.Policy(p.Policy)})
	}
	return policies, nil
}
