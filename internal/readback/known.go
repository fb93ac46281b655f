package readback

import (
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// Known is what is known of one twin. Nil knows nothing.
type Known struct {
	fingerprints *fingerprints
	id           hub.ID
	clock        clock.PassiveClock
}

// Evidence is what there is about a twin without asking the hub.
type Evidence struct {
	// Twin is a document from the hub's index that is newer than what was dealt with last; nil if there is none. It stays
	// until it was dealt with.
	Twin *hub.Twin
	// Known tells that this process has dealt with the twin before.
	Known bool
	// Doubt tells that the index contradicts what is known: only the hub itself can tell.
	Doubt bool
}

// Evidence shows what there is.
func (k *Known) Evidence() Evidence {
	if k == nil {
		return Evidence{Doubt: true}
	}
	twin, known, doubt := k.fingerprints.evidence(k.id, k.clock.Now())
	return Evidence{Twin: twin, Known: known, Doubt: doubt}
}

// Want asks for a document of a twin that nothing is known of. The object is woken when it is there.
func (k *Known) Want() {
	if k != nil {
		k.fingerprints.want(k.id)
	}
}

// Reread asks for a document of a twin although it has not moved. The object is woken when it is there.
func (k *Known) Reread() {
	if k != nil {
		k.fingerprints.reread(k.id)
	}
}

// Dealt notes that the object is in step with a twin as it was seen: it is woken when the twin moves on. direct tells
// that the hub itself told, rather than its index.
func (k *Known) Dealt(twin *hub.Twin, direct bool) {
	if k != nil {
		k.fingerprints.dealt(twin, direct, k.clock.Now())
	}
}

// Gone notes that the hub itself said it has no such twin.
func (k *Known) Gone() {
	if k != nil {
		k.fingerprints.gone(k.id, k.clock.Now())
	}
}
