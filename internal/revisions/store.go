package revisions

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
)

// The labels of a ControllerRevision.
const (
	// SetLabel names the set, and UIDLabel tells it from an earlier one of its name.
	SetLabel = "iothub.devicetwin.io/set"
	UIDLabel = "iothub.devicetwin.io/set-uid"
	// RevisionLabel is the revision's name, as markers have it.
	RevisionLabel = "iothub.devicetwin.io/revision"
)

// Store keeps revisions. What it has read or written of a set it remembers: nothing else writes
// them. It is safe for concurrent use.
type Store struct {
	client client.Client
	// reader is not cached: a cache would hold the revisions of every StatefulSet.
	reader client.Reader
	scheme *runtime.Scheme

	mu    sync.Mutex
	known map[types.NamespacedName]known
}

type known struct {
	uid types.UID
	all map[string]kept
	// pruned tells that no revision came since the last time those were deleted that are not needed.
	pruned bool
}

// kept is one revision with its place in the order.
type kept struct {
	fleet.Revision

	number int64
	object string
}

// New returns a store that has read nothing.
func New(c client.Client, reader client.Reader, scheme *runtime.Scheme) *Store {
	return &Store{client: c, reader: reader, scheme: scheme, known: map[types.NamespacedName]known{}}
}

// Forget drops what is remembered of a set.
func (s *Store) Forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}

// Of are the revisions of a set that are kept, by name.
func (s *Store) Of(ctx context.Context, set *v1alpha1.DeviceTwinSet) (map[string]fleet.Revision, error) {
	all, err := s.read(ctx, set)
	if err != nil {
		return nil, err
	}
	out := make(map[string]fleet.Revision, len(all))
	for name, one := range all {
		out[name] = one.Revision
	}
	return out, nil
}

// Keep stores a revision of a set, unless it is there.
func (s *Store) Keep(ctx context.Context, set *v1alpha1.DeviceTwinSet, revision fleet.Revision) error {
	all, err := s.read(ctx, set)
	if err != nil {
		return err
	}
	if _, there := all[revision.Name]; there {
		return nil
	}
	number := int64(1)
	for _, one := range all {
		number = max(number, one.number+1)
	}
	object, err := s.object(set, revision, number)
	if err != nil {
		return err
	}
	if err := s.client.Create(ctx, object); err != nil {
		if apierrors.IsAlreadyExists(err) {
			s.Forget(client.ObjectKeyFromObject(set)) // its answer was lost: it is read the next time
		}
		return fmt.Errorf("keeping revision %s: %w", revision.Name, err)
	}
	s.set(set, func(found *known) {
		found.all[revision.Name], found.pruned = kept{revision, number, object.Name}, false
	})
	return nil
}

// Prune deletes the oldest revisions beyond a number, but for those that are in use.
func (s *Store) Prune(ctx context.Context, set *v1alpha1.DeviceTwinSet, most int, inUse func(ctx context.Context, revision string) (bool, error)) error {
	all, err := s.read(ctx, set)
	if err != nil {
		return err
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Compare(all[b].number, all[a].number) })
	for i, name := range names {
		if i < most {
			continue
		}
		used, err := inUse(ctx, name)
		if err != nil {
			return err
		}
		if used {
			continue
		}
		object := &appsv1.ControllerRevision{}
		object.Namespace, object.Name = set.Namespace, all[name].object
		if err := s.client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting revision %s: %w", name, err)
		}
		s.set(set, func(found *known) { delete(found.all, name) })
	}
	s.set(set, func(found *known) { found.pruned = true })
	return nil
}

// Pruned tells that there is nothing to Prune since the last time. A process that has not done so does not know.
func (s *Store) Pruned(set *v1alpha1.DeviceTwinSet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.known[client.ObjectKeyFromObject(set)]
	return found.uid == set.UID && found.pruned
}

// read returns a copy of what is known of a set's revisions.
func (s *Store) read(ctx context.Context, set *v1alpha1.DeviceTwinSet) (map[string]kept, error) {
	name := client.ObjectKeyFromObject(set)
	s.mu.Lock()
	found, there := s.known[name]
	all := maps.Clone(found.all)
	s.mu.Unlock()
	if there && found.uid == set.UID {
		return all, nil
	}
	var list appsv1.ControllerRevisionList
	if err := s.reader.List(ctx, &list, client.InNamespace(set.Namespace), client.MatchingLabels{UIDLabel: string(set.UID)}); err != nil {
		return nil, fmt.Errorf("listing the revisions of the set: %w", err)
	}
	all = map[string]kept{}
	for i := range list.Items {
		object := &list.Items[i]
		revision, err := fleet.DecodeRevision(object.Data.Raw)
		if err != nil || revision.Name != object.Labels[RevisionLabel] || !metav1.IsControlledBy(object, set) {
			continue // another client has written it: it tells nothing
		}
		all[revision.Name] = kept{revision, object.Revision, object.Name}
	}
	s.mu.Lock()
	s.known[name] = known{uid: set.UID, all: maps.Clone(all)}
	s.mu.Unlock()
	return all, nil
}

func (s *Store) set(set *v1alpha1.DeviceTwinSet, change func(*known)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := client.ObjectKeyFromObject(set)
	if found := s.known[name]; found.uid == set.UID {
		change(&found)
		s.known[name] = found
	}
}

// object is a revision as it is stored. Its name has a part of the set's UID: those of an earlier
// set of the same name may not be gone yet.
func (s *Store) object(set *v1alpha1.DeviceTwinSet, revision fleet.Revision, number int64) (*appsv1.ControllerRevision, error) {
	content, err := revision.Encode()
	if err != nil {
		return nil, err
	}
	object := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: set.Namespace, Name: fmt.Sprintf("%s-%s-%.8s", set.Name, revision.Name, set.UID),
			Labels: map[string]string{SetLabel: set.Name, UIDLabel: string(set.UID), RevisionLabel: revision.Name},
		},
		Revision: number,
		Data:     runtime.RawExtension{Raw: content},
	}
	if err := controllerutil.SetControllerReference(set, object, s.scheme); err != nil {
		return nil, fmt.Errorf("naming the set as the owner of revision %s: %w", revision.Name, err)
	}
	return object, nil
}
