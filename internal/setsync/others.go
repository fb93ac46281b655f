package setsync

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// Hubs say which hub an object may use.
type Hubs interface {
	Resolve(ctx context.Context, namespace string, ref v1alpha1.HubReference) (hubaccess.Hub, error)
}

// Revisions are those of a set that are kept, by name.
type Revisions interface {
	Of(ctx context.Context, set *v1alpha1.DeviceTwinSet) (map[string]fleet.Revision, error)
}

// Others find what else declares leaves of the same devices: DeviceTwins, which come before
// any set, and older sets.
type Others struct {
	Reader    client.Reader
	Hubs      Hubs
	Revisions Revisions
}

// rival is an older set of the same hub that declares some of the same leaves.
type rival struct {
	name     types.NamespacedName
	scope    hubaccess.Scope
	declared validation.SetDeclaration
	owned    twin.Document
	// held are the leaves of its revisions: besides what it declares it keeps, on each device, the
	// revision that the device holds.
	held map[string]twin.Document
}

// overlaps tells whether it ever declared some of the leaves of documents.
func (r *rival) overlaps(documents []twin.Document) bool {
	for _, document := range documents {
		if _, overlaps := fleet.Without(document, r.owned); overlaps {
			return true
		}
		for _, held := range r.held {
			if _, overlaps := fleet.Without(document, held); overlaps {
				return true
			}
		}
	}
	return false
}

// keeps is what it keeps of a device.
func (r *rival) keeps(held *hub.Twin) twin.Document {
	marker, _ := fleet.MarkerOf(held.Tags, r.name)
	return twin.Apply(r.owned, r.held[marker.Revision])
}

// rivals are the older sets that come before one, in any of what it has declared.
func (o *Others) rivals(ctx context.Context, set *v1alpha1.DeviceTwinSet, host string, declared []twin.Document) ([]rival, error) {
	var all v1alpha1.DeviceTwinSetList
	if err := o.Reader.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing DeviceTwinSets: %w", err)
	}
	var found []rival
	for i := range all.Items {
		other := &all.Items[i]
		if other.UID == set.UID || !other.DeletionTimestamp.IsZero() || !older(other, set) {
			continue
		}
		theirs, errs := validation.DeviceTwinSet(other)
		if len(errs) > 0 {
			continue
		}
		one := rival{
			name: client.ObjectKeyFromObject(other), declared: theirs, owned: fleet.Owned(theirs.Document, theirs.Policies),
			held: map[string]twin.Document{},
		}
		kept, err := o.Revisions.Of(ctx, other)
		if err != nil {
			return nil, err
		}
		for name, revision := range kept {
			one.held[name] = fleet.Owned(revision.Declared, theirs.Policies)
		}
		if !one.overlaps(declared) {
			continue
		}
		at, err := o.Hubs.Resolve(ctx, other.Namespace, other.Spec.HubRef)
		switch {
		case outcome.Of(err).Class == outcome.Unseen:
			return nil, err
		case err != nil, at.Session.Host() != host:
			continue // it writes nothing there
		}
		one.scope = at.Scope
		found = append(found, one)
	}
	return found, nil
}

// older tells which of two sets keeps a leaf, in a way on which every manager agrees.
func older(a, b *v1alpha1.DeviceTwinSet) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.UID < b.UID
}

// kept is what others keep of a twin.
type kept struct {
	// Document holds their leaves: those are neither written nor deleted.
	twin.Document
	// overridden tells that a DeviceTwin keeps leaves that are declared, and conflicting that an older set
	// does.
	overridden, conflicting bool
}

// of is what others keep of the leaves that are declared for a device.
func (o *Others) of(ctx context.Context, host string, held *hub.Twin, declared twin.Document, rivals []rival) (kept, error) {
	var all kept
	twins, err := fieldindex.TwinsOf(ctx, o.Reader, held.ID)
	if err != nil {
		return kept{}, err
	}
	for i := range twins {
		owned, ok := o.declaredBy(ctx, &twins[i], host)
		if !ok {
			continue
		}
		if _, overlaps := fleet.Without(declared, owned); overlaps {
			all.overridden = true
		}
		all.Document = twin.Apply(all.Document, owned)
	}
	for i := range rivals {
		r := &rivals[i]
		if !r.scope.Covers(held.ID.Device) {
			continue
		}
		document, err := held.Document()
		if err != nil {
			return kept{}, fmt.Errorf("reading the twin of %s: %w", held.ID, err)
		}
		if r.declared.Selector.Matches(document) {
			all.conflicting = true
			all.Document = twin.Apply(all.Document, r.keeps(held))
		}
	}
	return all, nil
}

// declaredBy is what a DeviceTwin may write at a hub; false where it writes nothing there.
func (o *Others) declaredBy(ctx context.Context, obj *v1alpha1.DeviceTwin, host string) (twin.Document, bool) {
	if !obj.DeletionTimestamp.IsZero() {
		return twin.Document{}, false
	}
	if obj.Status.Target != fieldindex.TargetName(obj, host) && !o.mayKeep(ctx, obj, host) {
		return twin.Document{}, false
	}
	declared, errs := validation.DeviceTwin(obj)
	if len(errs) > 0 {
		return twin.Document{}, false
	}
	return fleet.Owned(declared.Document, declared.Policies), true
}

// mayKeep tells whether a DeviceTwin that has not said yet what it keeps is going to keep a
// twin at a hub.
func (o *Others) mayKeep(ctx context.Context, obj *v1alpha1.DeviceTwin, host string) bool {
	if obj.Status.ObservedGeneration > 0 {
		return false
	}
	at, err := o.Hubs.Resolve(ctx, obj.Namespace, obj.Spec.HubRef)
	return err == nil && at.Session.Host() == host && at.Scope.Covers(obj.Spec.DeviceID)
}
