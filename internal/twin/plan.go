package twin

import (
	"maps"
	"slices"
)

// Input is all that a plan depends on.
type Input struct {
	// Declared by the manifest.
	Declared Document
	// Record of what was written before, already checked to speak of this twin.
	Record Record
	// Observed on the hub.
	Observed Document
}

// Plan is what to do about one twin. It is made for exactly the observed
// document: the patch must be sent on the condition of that document's etag.
type Plan struct {
	// Patch is the smallest merge patch that brings the hub to the declaration;
	// a section that needs no change is nil.
	Patch Document
	// Record must be stored before the patch is sent. It equals the input's when
	// there is nothing to add.
	Record Record
	// Settled is what the record shrinks to once the hub holds the patch and no
	// older write of ours can still arrive there.
	Settled Record
	// Changed are the declared leaves that the hub does not hold.
	Changed Paths
	// Removed are leaves that left the declaration and hold a value of ours.
	Removed Paths
	// LeftBehind are leaves that left the declaration and hold somebody else's
	// value: they stay.
	LeftBehind Paths
	// Conflicts are declared leaves that cannot be written without wiping
	// somebody else's values. They are not in the patch.
	Conflicts []Conflict
}

// Conflict is one declared path that is in the way of somebody else's values, or
// they in its.
type Conflict struct {
	// Declared is the path in the declaration.
	Declared Path
	// Foreign are the paths on the hub that writing it would wipe.
	Foreign Paths
}

// String says which leaves stand against each other.
func (c Conflict) String() string {
	if len(c.Foreign) == 1 && len(c.Foreign[0].keys) == len(c.Declared.keys) {
		return c.Declared.String() + " is declared as an object, and the hub holds somebody else's value there"
	}
	return c.Declared.String() + " is declared as a value, and the hub holds somebody else's " + c.Foreign.String() + " below it"
}

// Make plans one twin.
func Make(in Input) Plan {
	p := planner{plan: Plan{
		Record:  in.Record.clone(),
		Settled: NewRecord(in.Record.Target),
	}}
	p.plan.Patch.Tags = p.section(Tags, in.Declared.Tags, in.Record, in.Observed.Tags)
	p.plan.Patch.Desired = p.section(Desired, in.Declared.Desired, in.Record, in.Observed.Desired)
	return p.plan
}

type planner struct{ plan Plan }

// change is what happens to one key: nothing, or a value to send, nil to delete.
type change struct {
	send  bool
	value any
}

var unchanged = change{}

func (p *planner) section(name Section, declared map[string]any, record Record, observed map[string]any) map[string]any {
	// The section itself is never deleted, so it counts as declared.
	patch := p.members(Path{section: name}, declared, record.section(name), observed)
	if len(patch) == 0 {
		return nil
	}
	return patch
}

// members plans the keys below a declared object that the hub holds as an object
// as well.
func (p *planner) members(at Path, declared map[string]any, record *node, observed map[string]any) map[string]any {
	patch := map[string]any{}
	for _, key := range sortedKeys(declared, record) {
		var todo change
		held, onHub := observed[key]
		if want, ok := declared[key]; ok {
			todo = p.declared(at.child(key), want, record.child(key), held, onHub)
		} else if onHub {
			todo, _ = p.removed(at.child(key), record.child(key), held)
		}
		if todo.send {
			patch[key] = todo.value
		}
	}
	return patch
}

func sortedKeys(declared map[string]any, record *node) []string {
	keys := make(map[string]struct{}, len(declared))
	for key := range declared {
		keys[key] = struct{}{}
	}
	if record != nil {
		for key := range record.children {
			keys[key] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// declared plans a key that the manifest names.
func (p *planner) declared(at Path, want any, record *node, held any, onHub bool) change {
	if !onHub {
		return p.write(at, want)
	}
	heldObject, heldIsObject := asObject(held)
	wantObject, wantIsObject := asObject(want)
	switch {
	case wantIsObject && heldIsObject:
		return p.declaredObject(at, wantObject, record, heldObject)
	case heldIsObject:
		return p.leafOverObject(at, want, record, heldObject)
	case wantIsObject && !record.holds(held):
		p.conflict(at, Paths{at})
		return unchanged
	case !wantIsObject && equalValues(want, held):
		p.own(at, want)
		return unchanged
	}
	return p.write(at, want)
}

func (p *planner) declaredObject(at Path, want map[string]any, record *node, held map[string]any) change {
	if len(want) == 0 {
		p.own(at, want) // any object satisfies an empty one
	}
	patch := p.members(at, want, record, held)
	return change{send: len(patch) > 0, value: patch}
}

// leafOverObject replaces an object by a declared leaf, unless somebody else
// lives in the object; then only our own former leaves go.
func (p *planner) leafOverObject(at Path, want any, record *node, held map[string]any) change {
	foreign := foreignLeaves(at, record, held)
	if len(foreign) == 0 {
		return p.write(at, want)
	}
	p.conflict(at, foreign)
	patch := p.members(at, nil, record, held)
	return change{send: len(patch) > 0, value: patch}
}

// removed plans a key that left the manifest, and tells whether nothing of it
// remains. Only values of ours are deleted; an object goes when it ends up empty.
func (p *planner) removed(at Path, record *node, held any) (todo change, gone bool) {
	if record.empty() {
		return unchanged, false
	}
	object, isObject := asObject(held)
	switch {
	case !isObject, len(object) == 0 && len(childrenOf(record)) == 0:
		return p.removedLeaf(at, record, held)
	case len(object) == 0:
		p.plan.Removed = append(p.plan.Removed, at)
		return change{send: true}, true
	}
	patch, all := map[string]any{}, true
	for _, key := range slices.Sorted(maps.Keys(object)) {
		below, belowGone := p.removed(at.child(key), record.child(key), object[key])
		if below.send {
			patch[key] = below.value
		}
		all = all && belowGone
	}
	if all {
		return change{send: true}, true
	}
	return change{send: len(patch) > 0, value: patch}, false
}

func (p *planner) removedLeaf(at Path, record *node, held any) (change, bool) {
	if record.holds(held) {
		p.plan.Removed = append(p.plan.Removed, at)
		return change{send: true}, true
	}
	p.plan.LeftBehind = append(p.plan.LeftBehind, at)
	return unchanged, false
}

func childrenOf(n *node) map[string]*node {
	if n == nil {
		return nil
	}
	return n.children
}

// write sends a declared value whole: nothing of it is on the hub, or what is
// there is ours to replace.
func (p *planner) write(at Path, want any) change {
	for leaf, value := range leaves(at, want) {
		p.plan.Changed = append(p.plan.Changed, leaf)
		p.own(leaf, value)
	}
	return change{send: true, value: want}
}

// own records that a declared leaf holds our value now or will once the patch is
// applied.
func (p *planner) own(at Path, want any) {
	p.plan.Record.add(at, want)
	p.plan.Settled.add(at, want)
}

func (p *planner) conflict(at Path, foreign Paths) {
	p.plan.Conflicts = append(p.plan.Conflicts, Conflict{Declared: at, Foreign: foreign})
}

// leaves walks the leaves of a value in the order of their keys.
func leaves(at Path, value any) func(yield func(Path, any) bool) {
	return func(yield func(Path, any) bool) { walkLeaves(at, value, yield) }
}

func walkLeaves(at Path, value any, yield func(Path, any) bool) bool {
	object, ok := asObject(value)
	if !ok || len(object) == 0 {
		return yield(at, value)
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !walkLeaves(at.child(key), object[key], yield) {
			return false
		}
	}
	return true
}

// foreignLeaves are the leaves below an object on the hub that the record does
// not hold. The object's being there is no leaf; an empty object below it is,
// unless we wrote into it.
func foreignLeaves(at Path, record *node, held map[string]any) Paths {
	var foreign Paths
	for _, key := range slices.Sorted(maps.Keys(held)) {
		below, child := at.child(key), record.child(key)
		object, isObject := asObject(held[key])
		switch {
		case isObject && len(object) > 0:
			foreign = append(foreign, foreignLeaves(below, child, object)...)
		case isObject && len(childrenOf(child)) > 0:
		case !child.holds(held[key]):
			foreign = append(foreign, below)
		}
	}
	return foreign
}
