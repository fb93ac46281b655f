package reference

import "slices"

// Policy is what to do about a declared leaf that the hub does not hold.
type Policy string

// The policies, by the names that they have in a manifest.
const (
	Enforce    Policy = "Enforce"
	Yield      Policy = "Yield"
	Initialize Policy = "Initialize"
	Observe    Policy = "Observe"
)

// PathPolicy is the policy of everything within a path.
type PathPolicy struct {
	Path   Path
	Policy Policy
}

// Spec is what one object declares.
type Spec struct {
	Leaves   Leaves
	Policy   Policy
	Policies []PathPolicy
	Suspend  bool
	// Clear is true when the hub is to be cleaned up behind the object.
	Clear bool
}

// policy is that of the longest path which leads to a leaf.
func (s Spec) policy(leaf Path) Policy {
	found, length := s.Policy, -1
	for _, p := range s.Policies {
		if leaf.within(p.Path) && len(p.Path.keys()) > length {
			found, length = p.Policy, len(p.Path.keys())
		}
	}
	if found == "" {
		return Enforce
	}
	return found
}

// writes reports whether any declared leaf may ever be written.
func (s Spec) writes() bool {
	for leaf := range s.Leaves {
		if s.policy(leaf) != Observe {
			return true
		}
	}
	return false
}

// strongest is the policy of the declared leaves within a path that wants their
// values there the most.
func (s Spec) strongest(at Path) Policy {
	order := []Policy{Observe, Initialize, Yield, Enforce}
	found := 0
	for leaf := range s.Leaves {
		if leaf.within(at) {
			found = max(found, slices.Index(order, s.policy(leaf)))
		}
	}
	return order[found]
}

// plan is what one visit wants.
type plan struct {
	patch Patch
	// wide is the record before the patch is sent, settled the truth once the hub
	// holds it.
	wide, settled record
	conflict      bool
	// left is true when declared values give way to others, or are only observed.
	left bool
	// drift are the leaves in the patch that another writer changed since we wrote
	// the same value.
	drift []Path
}

// planner holds one declaration against the hub.
type planner struct {
	plan
	spec   Spec
	before record
	hub    Leaves
	// spared are leaves that a successor declares.
	spared Leaves
	// postponed are leaves that are fought over.
	postponed map[Path]bool
	// untouched are paths whose members on the hub need no removal: they are
	// replaced as a whole, or only observed.
	untouched []Path
	// hidden are leaves on the hub that stand in the way of declared objects.
	hidden map[Path]bool
}

func planFor(spec Spec, before record, hub, spared Leaves, postponed map[Path]bool) plan {
	p := &planner{
		plan: plan{patch: Patch{Set: Leaves{}}, wide: before.clone(), settled: record{}.clone()},
		spec: spec, before: before, hub: hub, spared: spared, postponed: postponed, hidden: map[Path]bool{},
	}
	for _, at := range spec.Leaves.Paths() {
		p.declared(at, spec.Leaves[at])
	}
	p.removals()
	return p.plan
}

func (p *planner) declared(at Path, want string) {
	above := at.parent()
	if want == Empty {
		above = at
	}
	over, hidden := p.hub.over(above)
	switch {
	case hidden:
		p.objectOverLeaf(over, at, want)
	case p.hub.isObject(at) && want == Empty:
		p.satisfied(at, want)
	case p.hub.isObject(at):
		p.leafOverObject(at, want)
	case p.hub[at] == want:
		p.satisfied(at, want)
	case p.hub[at] == "":
		p.write(at, want)
	default:
		p.leafOverLeaf(at, want)
	}
}

func (p *planner) satisfied(at Path, want string) {
	if p.spec.policy(at) != Observe {
		p.own(at, want)
	} else if p.before.holds(at, want) {
		p.settled.add(at, want)
	}
}

func (p *planner) own(at Path, value string) {
	p.wide.add(at, value)
	p.settled.add(at, value)
}

func (p *planner) write(at Path, want string) {
	drift := p.before.holds(at, want)
	switch {
	case p.spec.policy(at) == Observe:
		p.observe(at)
	case drift && p.postponed[at]:
		p.own(at, want)
	default:
		p.own(at, want)
		p.patch.Set[at] = want
		if drift {
			p.drift = append(p.drift, at)
		}
	}
}

// observe leaves things as they are, and keeps what is ours within the path.
func (p *planner) observe(at Path) {
	p.left = true
	p.keep(at)
}

// keep goes on recording values of ours within a path.
func (p *planner) keep(at Path) {
	for path, value := range p.hub {
		if path.within(at) && p.before.holds(path, value) {
			p.settled.add(path, value)
		}
	}
}

// leafOverLeaf: another value is there.
func (p *planner) leafOverLeaf(at Path, want string) {
	held := p.hub[at]
	switch p.spec.policy(at) {
	case Initialize:
		p.keep(at)
		return
	case Yield:
		if !p.before.holds(at, held) {
			p.yieldOnce(at, want, held)
			return
		}
	case Enforce, Observe:
	}
	p.write(at, want)
}

// yieldOnce leaves another writer's value, but writes an edit once.
func (p *planner) yieldOnce(at Path, want, held string) {
	known := p.before.knows(at, want) && p.before.replaces[at] != held
	if !p.before.speaksOf(at) || known {
		p.yield(at, want)
		return
	}
	p.write(at, want)
	p.wide.replaces[at] = held
}

func (p *planner) yield(at Path, want string) {
	p.left = true
	p.wide.yield(at, want)
	p.settled.yield(at, want)
}

// leafOverObject: the object in the way may hold leaves of another writer.
func (p *planner) leafOverObject(at Path, want string) {
	policy := p.spec.policy(at)
	foreign := p.foreignBelow(at)
	switch {
	case policy == Observe:
		p.observe(at)
		p.untouched = append(p.untouched, at)
	case !foreign:
		p.write(at, want)
		p.untouched = append(p.untouched, at)
	case policy == Yield:
		p.yield(at, want)
	case policy == Enforce:
		p.conflict = true
	}
}

func (p *planner) foreignBelow(at Path) bool {
	for path, value := range p.hub {
		if path.below(at) && !p.mine(path, value) {
			return true
		}
	}
	return false
}

// mine reports whether a leaf on the hub is ours: a value that we wrote, or what is
// left of an object that we wrote into.
func (p *planner) mine(at Path, held string) bool {
	return p.before.holds(at, held) || held == Empty && p.before.below(at)
}

// objectOverLeaf: a declared object, of which at is a leaf, would replace a leaf.
func (p *planner) objectOverLeaf(over, at Path, want string) {
	policy := p.spec.strongest(over)
	if policy != Observe && p.before.holds(over, p.hub[over]) {
		p.write(at, want)
		p.hidden[over] = true
		return
	}
	if p.hidden[over] {
		return // said once
	}
	p.hidden[over] = true
	switch policy {
	case Observe:
		p.observe(over)
	case Yield:
		p.yield(over, "an object")
	case Enforce:
		p.conflict = true
	case Initialize:
	}
}

// removals deletes what is ours and not declared any more, and the objects that
// end up empty and that no object declares.
func (p *planner) removals() {
	gone := map[Path]bool{}
	for _, at := range p.hub.Paths() {
		held := p.hub[at]
		if !p.undeclared(at) || !p.before.speaksOf(at) || p.spared[at] != "" {
			continue
		}
		if p.spec.policy(at) == Observe {
			p.keep(at)
			continue
		}
		if p.mine(at, held) {
			gone[at] = true
		}
	}
	for at := range gone {
		p.patch.Delete = append(p.patch.Delete, p.topmost(at, gone))
	}
	slices.Sort(p.patch.Delete)
	p.patch.Delete = slices.Compact(p.patch.Delete)
}

func (p *planner) undeclared(at Path) bool {
	return !p.spec.Leaves.anyWithin(at) && !slices.ContainsFunc(p.untouched, at.within)
}

// topmost is the highest object that goes with a leaf.
func (p *planner) topmost(leaf Path, gone map[Path]bool) Path {
	for above := leaf.parent(); !above.isSection() && p.undeclared(above) && p.allGone(above, gone); above = above.parent() {
		leaf = above
	}
	return leaf
}

func (p *planner) allGone(object Path, gone map[Path]bool) bool {
	for path := range p.hub {
		if path.within(object) && !gone[path] {
			return false
		}
	}
	return true
}
