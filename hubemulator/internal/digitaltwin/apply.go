package digitaltwin

import "maps"

// Desired returns what a patch comes to: a merge patch of the desired
// properties of the device twin, given as the service API shows it. Nil means
// that there is nothing to write. Errors are of type *store.Error.
func (p Patch) Desired(twin map[string]any) (map[string]any, error) {
	desired, reported := section(twin, "desired"), section(twin, "reported")
	before := level{desired: desired.values, reported: reported.values}
	after := level{desired: maps.Clone(desired.values), reported: reported.values}
	for _, o := range p {
		if err := o.apply(after); err != nil {
			return nil, err
		}
	}
	merged := map[string]any{}
	for _, o := range p {
		o.collect(merged, before.desired, after.desired)
	}
	if len(merged) == 0 {
		return nil, nil
	}
	return merged, nil
}

// apply changes the desired properties of a level. It never changes the objects
// within.
func (o operation) apply(root level) error {
	top := o.names[0]
	known := root.desired[top] != nil || root.reported[top] != nil
	isComponent := root.isComponent(top)
	if len(o.names) > 1 {
		if known && !isComponent {
			return notConformant(top)
		}
		o.applyBelow(root.desired)
		return nil
	}
	switch {
	case o.remove:
		delete(root.desired, top)
	case known && isComponent != o.component:
		return notConformant(top)
	default:
		root.desired[top] = o.value
	}
	return nil
}

// applyBelow changes a property of a component. A component without any is
// none.
func (o operation) applyBelow(desired map[string]any) {
	component := maps.Clone(object(desired, o.names[0]))
	if component == nil {
		component = map[string]any{}
	}
	if o.remove {
		delete(component, o.names[1])
	} else {
		component[o.names[1]] = o.value
	}
	delete(component, marker)
	if len(component) == 0 {
		delete(desired, o.names[0])
		return
	}
	component[marker] = markerComponent
	desired[o.names[0]] = component
}

func notConformant(name string) error {
	return refuse(400004, "ArgumentInvalid", "'%s' exists within the device twin and is not digital twin conformant property. "+
		"Please refer to aka.ms/dtpatch to update this to be conformant.", name)
}

// collect adds to a merge patch what makes the operation's place what it is
// after all operations. All that an operation sets is written, equal values as
// well; what was not there and is not there now is left alone.
func (o operation) collect(merged, before, after map[string]any) {
	top := o.names[0]
	component, remains := after[top].(map[string]any)
	if len(o.names) == 1 || !remains {
		if before[top] != nil || after[top] != nil {
			merged[top] = change(before[top], after[top])
		}
		return
	}
	written := object(merged, top)
	if written == nil {
		written = map[string]any{marker: markerComponent}
	}
	property := o.names[1]
	if was, is := object(before, top)[property], component[property]; was != nil || is != nil {
		written[property] = change(was, is)
		merged[top] = written
	}
}

// change is the merge patch that turns one value into another; nil stands for
// none. Objects would merge: what is to go has to be named.
func change(before, after any) any {
	was, _ := before.(map[string]any)
	is, isObject := after.(map[string]any)
	if !isObject {
		return after
	}
	changed := make(map[string]any, len(is))
	for name := range was {
		if _, stays := is[name]; !stays {
			changed[name] = nil
		}
	}
	for name, value := range is {
		changed[name] = change(was[name], value)
	}
	return changed
}
