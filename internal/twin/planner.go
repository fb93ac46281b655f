package twin

import (
	"maps"
	"slices"
)

// planner walks declaration, record and twin side by side.
type planner struct {
	plan      Plan
	policies  Policies
	postponed func(Path) bool
	spared    Document
	// unrecorded leaves out the plan's records.
	unrecorded bool
}

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
	if len(childrenOf(record)) == 0 {
		return slices.Sorted(maps.Keys(declared))
	}
	keys := make(map[string]struct{}, len(declared))
	for key := range declared {
		keys[key] = struct{}{}
	}
	for key := range record.children {
		keys[key] = struct{}{}
	}
	return slices.Sorted(maps.Keys(keys))
}

// declared plans a key that the manifest names.
func (p *planner) declared(at Path, want any, record *node, held any, onHub bool) change {
	if !onHub {
		return p.fresh(at, want, record)
	}
	heldObject, heldIsObject := asObject(held)
	wantObject, wantIsObject := asObject(want)
	switch {
	case wantIsObject && heldIsObject:
		return p.declaredObject(at, wantObject, record, heldObject)
	case heldIsObject:
		return p.leafOverObject(at, want, record, heldObject)
	case wantIsObject:
		return p.objectOverLeaf(at, wantObject, record, held)
	case equalValues(want, held):
		p.satisfied(at, want, record)
		return unchanged
	}
	return p.leafOverLeaf(at, want, record, held)
}

// fresh plans a declared value where the hub holds nothing.
func (p *planner) fresh(at Path, want any, record *node) change {
	if object, isObject := asObject(want); isObject && len(object) > 0 {
		value := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if below := p.fresh(at.child(key), object[key], record.child(key)); below.send {
				value[key] = below.value
			}
		}
		return change{send: len(value) > 0, value: value}
	}
	return p.write(Difference{Path: at, Declared: want, Drift: record.holds(want)}, record)
}

// leafOverLeaf replaces a value on the hub, if the policy wants it.
func (p *planner) leafOverLeaf(at Path, want any, record *node, held any) change {
	differs := Difference{Path: at, Declared: want, Held: held, Drift: record.holds(want)}
	// The other policies are applied where the value is written.
	//exhaustive:ignore
	switch p.policies.of(at) {
	case Initialize:
		p.keep(at, record, held)
		return unchanged
	case Yield:
		if !record.holds(held) {
			return p.yieldOnce(differs, record)
		}
	}
	return p.write(differs, record)
}

// yieldOnce leaves another writer's value, unless the declaration was edited since
// we last wrote or yielded: an edit is written once.
func (p *planner) yieldOnce(differs Difference, record *node) change {
	if record.empty() || (record.knows(differs.Declared) && !record.mayReplace(differs.Held)) {
		p.yield(differs)
		return unchanged
	}
	todo := p.write(differs, record)
	if !p.unrecorded {
		p.plan.Record.replacing(differs.Path, differs.Held)
	}
	return todo
}

func (p *planner) yield(differs Difference) {
	p.plan.Yielded = append(p.plan.Yielded, differs)
	if p.unrecorded {
		return
	}
	p.plan.Record.yield(differs.Path, differs.Declared)
	p.plan.Settled.yield(differs.Path, differs.Declared)
}

func (p *planner) declaredObject(at Path, want map[string]any, record *node, held map[string]any) change {
	if len(want) == 0 {
		p.satisfied(at, want, record) // any object satisfies an empty one
	}
	patch := p.members(at, want, record, held)
	return change{send: len(patch) > 0, value: patch}
}

// leafOverObject replaces an object by a declared leaf, unless another
// writer has leaves in the object; then only our own former leaves go.
func (p *planner) leafOverObject(at Path, want any, record *node, held map[string]any) change {
	differs := Difference{Path: at, Declared: want, Held: held, Drift: record.holds(want)}
	policy := p.policies.of(at)
	foreign := foreignLeaves(at, record, held)
	switch {
	case policy == Observe:
		p.observe(differs, record)
		return unchanged
	case len(foreign) == 0:
		return p.write(differs, record)
	case policy == Yield:
		p.yield(differs)
	case policy == Enforce:
		p.conflict(differs, foreign)
	}
	patch := p.members(at, nil, record, held)
	return change{send: len(patch) > 0, value: patch}
}

// objectOverLeaf replaces a leaf of ours by a declared object. Another writer's
// leaf is never wiped for one.
func (p *planner) objectOverLeaf(at Path, want map[string]any, record *node, held any) change {
	differs := Difference{Path: at, Declared: want, Held: held}
	policy := p.policies.strongest(at, want)
	switch {
	case policy == Observe:
		p.observe(differs, record)
	case record.holds(held):
		return p.fresh(at, want, record)
	case policy == Yield:
		p.yield(differs)
	case policy == Enforce:
		p.conflict(differs, Paths{at})
	}
	return unchanged
}

// removed plans a key that left the manifest, and tells whether nothing of it
// remains. Only values of ours are deleted; an object goes when it ends up empty.
func (p *planner) removed(at Path, record *node, held any) (todo change, gone bool) {
	if record.empty() {
		return unchanged, false
	}
	object, isObject := asObject(held)
	if !isObject || len(object) == 0 {
		return p.removedLeaf(at, record, held)
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
	_, isObject := asObject(held)
	emptied := isObject && len(childrenOf(record)) > 0 // what is left of an object that we wrote into
	switch {
	case p.spared.declares(at):
		return unchanged, false
	case p.policies.of(at) == Observe:
		p.plan.Withheld = true
		p.keep(at, record, held)
		return unchanged, false
	case record.holds(held), emptied:
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

// write sends a declared value, unless it is only to be observed or has to wait.
func (p *planner) write(differs Difference, record *node) change {
	switch {
	case p.policies.of(differs.Path) == Observe:
		p.observe(differs, record)
		return unchanged
	case differs.Drift && p.postponed(differs.Path):
		p.plan.Withheld = true
		p.plan.Postponed = append(p.plan.Postponed, differs)
		p.own(differs.Path, differs.Declared)
		return unchanged
	}
	p.plan.Changed = append(p.plan.Changed, differs)
	p.own(differs.Path, differs.Declared)
	return change{send: true, value: differs.Declared}
}

// observe only notes a difference. What is ours there stays recorded.
func (p *planner) observe(differs Difference, record *node) {
	p.plan.Withheld = true
	p.plan.Observed = append(p.plan.Observed, differs)
	p.keep(differs.Path, record, differs.Held)
}

// satisfied notes a declared leaf that the hub holds.
func (p *planner) satisfied(at Path, want any, record *node) {
	switch {
	case p.policies.of(at) != Observe:
		p.own(at, want)
	case !p.unrecorded && record.holds(want):
		p.plan.Settled.add(at, want)
	}
}

// own records that a declared leaf holds our value now or will once the patch is
// applied.
func (p *planner) own(at Path, want any) {
	if p.unrecorded {
		return
	}
	hash := hash(want)
	p.plan.Record.addHash(at, hash)
	p.plan.Settled.addHash(at, hash)
}

// keep goes on recording the values of ours that are left on the hub.
func (p *planner) keep(at Path, record *node, held any) {
	if record == nil || held == nil || p.unrecorded {
		return
	}
	if record.holds(held) {
		p.plan.Settled.add(at, held)
	}
	object, _ := asObject(held)
	for key, value := range object {
		p.keep(at.child(key), record.child(key), value)
	}
}

func (p *planner) conflict(differs Difference, foreign Paths) {
	p.plan.Conflicts = append(p.plan.Conflicts, Conflict{
		Declared: differs.Path, Foreign: foreign, Want: differs.Declared, Held: differs.Held,
	})
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
