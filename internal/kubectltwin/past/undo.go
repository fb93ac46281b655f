package past

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Undone is what an object declares with edits taken back.
type Undone struct {
	// Tags and Desired are for its spec, nil for none.
	Tags, Desired *runtime.RawExtension
	// To is the generation whose declaration that is.
	To int64
	// Leaves are those that are declared in another way, in the order in which they are taken back.
	Leaves []Leaf
}

// Leaf is one leaf that is declared in another way. Nil stands for no value.
type Leaf struct {
	Path     string
	Now, New any
}

// Undo takes back the edits that were written to the hub after a generation, or just the last one where that is 0. It
// refuses what the history does not tell whole, and what has been edited since.
func Undo(obj *v1alpha1.DeviceTwin, to int64) (Undone, error) {
	history := Hidden(obj.Status.History)
	if to == 0 {
		last := lastEdit(history)
		switch {
		case last == nil:
			return Undone{}, errors.New("nothing to undo: status.history tells of no edit")
		case last.Generation == 1:
			return Undone{}, errors.New("nothing to undo: the last edit that was written is generation 1, before which nothing was declared. " +
				"To take that off the hub, set spec.deletionPolicy to Clear and delete the DeviceTwin")
		case obj.Generation > last.Generation:
			return Undone{}, fmt.Errorf("the spec was edited since: it is at generation %d, and the last edit in status.history is generation %d. "+
				"See kubectl twin history; --to %d takes that one back all the same", obj.Generation, last.Generation, last.Generation-1)
		}
		to = last.Generation - 1
	} else if err := reaches(obj, to); err != nil {
		return Undone{}, err
	}
	declared, err := declarationOf(obj)
	if err != nil {
		return Undone{}, err
	}
	out := Undone{To: to}
	for i := range history {
		entry := &history[i]
		if entry.Generation <= to || entry.Cause != v1alpha1.WriteCauseEdit {
			continue
		}
		if err := out.takeBack(declared, entry, obj.Generation); err != nil {
			return Undone{}, err
		}
	}
	if len(out.Leaves) == 0 {
		return Undone{}, fmt.Errorf("nothing to undo: no edit after generation %d was written to the hub", to)
	}
	if out.Tags, err = declared.section(twin.Tags); err == nil {
		out.Desired, err = declared.section(twin.Desired)
	}
	return out, err
}

func lastEdit(history []v1alpha1.TwinWrite) *v1alpha1.TwinWrite {
	for i := range history {
		if history[i].Cause == v1alpha1.WriteCauseEdit {
			return &history[i]
		}
	}
	return nil
}

// reaches tells whether the history goes back to a generation.
func reaches(obj *v1alpha1.DeviceTwin, to int64) error {
	history := obj.Status.History
	switch {
	case to >= obj.Generation:
		return fmt.Errorf("--to %d: the object is at generation %d", to, obj.Generation)
	case len(history) == 0:
		return errors.New("nothing to undo: status.history tells of no write")
	case history[len(history)-1].Generation > to:
		return fmt.Errorf("--to %d: status.history goes back to generation %d only", to, history[len(history)-1].Generation)
	}
	return nil
}

// takeBack declares what was held before a write.
func (u *Undone) takeBack(declared declaration, entry *v1alpha1.TwinWrite, generation int64) error {
	if entry.Omitted > 0 {
		return fmt.Errorf("the write of generation %d cannot be undone: status.history leaves out %d of its leaves", entry.Generation, entry.Omitted)
	}
	for i := range entry.Changes {
		change := &entry.Changes[i]
		if change.Withheld != "" {
			return fmt.Errorf("the write of generation %d cannot be undone: status.history does not hold the values of %s (%s)",
				entry.Generation, change.Path, strings.ToLower(string(change.Withheld)))
		}
		if err := u.leaf(declared, change, entry.Generation == generation); err != nil {
			return err
		}
	}
	return nil
}

// leaf takes back one leaf. current tells that the spec is as it was when it was written.
func (u *Undone) leaf(declared declaration, change *v1alpha1.LeafChange, current bool) error {
	path, err := twin.ParsePath(change.Path)
	if err != nil || len(path.Keys()) == 0 {
		return fmt.Errorf("status.history names a leaf %q that no twin can have", change.Path)
	}
	before, err := valueOf(change.Before)
	if err != nil {
		return fmt.Errorf("status.history holds no JSON for %s", change.Path)
	}
	after, err := valueOf(change.After)
	if err != nil {
		return fmt.Errorf("status.history holds no JSON for %s", change.Path)
	}
	now := declared.at(path)
	switch {
	case now == nil && after != nil && current:
		return nil // not of the spec: the owner tag of the hub
	case (now == nil) != (after == nil), now != nil && !twin.EqualValues(now, after), now == nil && declared.below(path):
		return fmt.Errorf("%s was edited since it was written, or a write in between is not in status.history: declare by hand what it should be", change.Path)
	case before == nil:
		declared.remove(path)
	default:
		declared.set(path, before)
	}
	u.add(Leaf{Path: change.Path, Now: now, New: before})
	return nil
}

// add adds a leaf; of one that several writes changed, what it was before all of them counts.
func (u *Undone) add(leaf Leaf) {
	for i := range u.Leaves {
		if u.Leaves[i].Path == leaf.Path {
			u.Leaves[i].New = leaf.New
			return
		}
	}
	u.Leaves = append(u.Leaves, leaf)
}

// Applier is the field manager that applies an object's spec again and again, so that it will set back what another one
// changes; empty where none is known.
func Applier(obj *v1alpha1.DeviceTwin) string {
	for _, entry := range obj.ManagedFields {
		if entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" && entry.FieldsV1 != nil && strings.Contains(entry.FieldsV1.GetRawString(), `"f:spec"`) {
			return entry.Manager
		}
	}
	for annotation, applier := range map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": "kubectl apply",
		"meta.helm.sh/release-name":                        "helm",
	} {
		if _, applied := obj.Annotations[annotation]; applied {
			return applier
		}
	}
	return ""
}
