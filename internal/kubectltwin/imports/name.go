package imports

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
)

const (
	// hashBytes tell ids apart that lead to the same name without them.
	hashBytes = 4
	// kustomization is no name: the manifest's file would have that of the kustomization.
	kustomization = "kustomization"
	// nameless is for ids of which no character may be in a name.
	nameless = "device"
)

// nameOf is the name of a DeviceTwin for a device or module, the same each time: the device id where it is a name, and else what
// is left of the id with a hash of it.
func nameOf(device, module string) string {
	if module == "" && device != kustomization && len(apivalidation.NameIsDNSSubdomain(device, false)) == 0 {
		return device
	}
	id := device
	if module != "" {
		id += "/" + module
	}
	kept := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, id), "-")
	if kept == "" {
		kept = nameless
	}
	hash := sha256.Sum256([]byte(id))
	return kept[:min(len(kept), maxKept)] + "-" + hex.EncodeToString(hash[:hashBytes])
}

// maxKept leaves room for the hash, and for the extension of a file, in the 253 characters of a name.
const maxKept = 230
