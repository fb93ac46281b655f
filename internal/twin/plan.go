package twin

// Input is all that a plan depends on.
type Input struct {
	// Declared by the manifest.
	Declared Document
	// Record of what was written before, already checked to speak of this twin.
	Record Record
	// Unrecorded tells that the plan's Record and Settled are not wanted, which take as long as
	// all the rest of a plan: they are empty then.
	Unrecorded bool
	// Observed on the hub.
	Observed Document
	// Policies of the declared leaves.
	Policies Policies
	// Postponed tells of a leaf that another writer keeps changing whether to leave
	// it for now; nil postpones nothing.
	Postponed func(Path) bool
	// Spared are leaves that another writer is to take over: a value of ours stays
	// there though it left the declaration.
	Spared Document
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
	// Changed are the declared leaves that the patch writes.
	Changed Differences
	// Removed are leaves that left the declaration and hold a value of ours.
	Removed Paths
	// LeftBehind are leaves that left the declaration and hold another writer's
	// value: they stay.
	LeftBehind Paths
	// Yielded, Observed and Postponed are declared leaves that the hub does not
	// hold and that the patch leaves alone: by policy, and for now.
	Yielded, Observed, Postponed Differences
	// Withheld tells whether a policy, or waiting, kept anything from being
	// written or deleted: only then Pending plans more than Make.
	Withheld bool
	// Conflicts are declared leaves that cannot be written without wiping
	// another writer's values. They are not in the patch.
	Conflicts []Conflict
}

// Conflict is one declared path that is in the way of another writer's values, or
// they in its.
type Conflict struct {
	// Declared is the path in the declaration.
	Declared Path
	// Foreign are the paths on the hub that writing it would wipe.
	Foreign Paths
	// Want is declared at the path, and Held is on the hub there.
	Want, Held any
}

// String says which leaves stand against each other, with both values, shortened.
func (c Conflict) String() string {
	values := " (declared " + show(c.Declared, c.Want) + ", held " + show(c.Declared, c.Held) + ")"
	if len(c.Foreign) == 1 && len(c.Foreign[0].keys) == len(c.Declared.keys) {
		return c.Declared.String() + " is declared as an object, and the hub holds another writer's value there" + values
	}
	return c.Declared.String() + " is declared as a value, and the hub holds another writer's " + c.Foreign.String() + " below it" + values
}

// Make plans one twin.
func Make(in Input) Plan {
	p := planner{policies: in.Policies, postponed: in.Postponed, spared: in.Spared, unrecorded: in.Unrecorded}
	if !in.Unrecorded {
		p.plan.Record, p.plan.Settled = in.Record.clone(), NewRecord(in.Record.Target)
	}
	if p.postponed == nil {
		p.postponed = func(Path) bool { return false }
	}
	p.plan.Patch.Tags = p.section(Tags, in.Declared.Tags, in.Record, in.Observed.Tags)
	p.plan.Patch.Desired = p.section(Desired, in.Declared.Desired, in.Record, in.Observed.Desired)
	return p.plan
}

// Pending plans what is kept from being done: what is only observed, and what is
// postponed.
func Pending(in Input) Plan {
	in.Policies, in.Postponed = in.Policies.enforced(), nil
	return Make(in)
}
