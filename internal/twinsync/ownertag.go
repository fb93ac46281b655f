package twinsync

import (
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Foreign refuses a twin that carries the owner tag of another owner. A value that the
// object wrote itself is none: ownerTag.value may be edited.
func Foreign(held *hub.Twin, owner *v1alpha1.OwnerTag, record twin.Record) error {
	if owner == nil {
		return nil
	}
	found, ok := held.Tags[owner.Name]
	if !ok || found == owner.Value || record.HoldsTag(owner.Name, found) {
		return nil
	}
	return outcome.Stall(v1alpha1.ReasonOwnedElsewhere, fmt.Sprintf(
		"the tag %s of the twin names another owner, %s. Have it removed there first, or delete the tag", owner.Name, credential.Masked(outcome.Cut(fmt.Sprintf("%q", found), maxOwner))))
}

// maxOwner bounds what a message shows of another owner's name.
const maxOwner = 128
