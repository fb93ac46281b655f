package query

import "slices"

// kinds is a set of types that a value may have. The empty set is what is never
// there.
type kinds uint8

const (
	kindString kinds = 1 << iota
	kindNumber
	kindBoolean
	kindNull
	kindList
	kindObject

	// kindsCompared are the types that compare with themselves.
	kindsCompared = kindString | kindNumber | kindBoolean | kindNull
	// kindsStored are the types of values that a twin stores: nulls are not
	// stored.
	kindsStored = kindString | kindNumber | kindBoolean | kindList | kindObject
)

// name says in words what a value of just one type is, and "" for other sets.
func (k kinds) name() string {
	switch k {
	case kindString:
		return "a string"
	case kindNumber:
		return "a number"
	case kindBoolean:
		return "true or false"
	case kindNull:
		return "null"
	case kindList:
		return "a list"
	case kindObject:
		return "an object"
	}
	return ""
}

// kindsOf tells what an expression can evaluate to, undefined aside.
func kindsOf(e expression) kinds {
	switch e := e.(type) {
	case constant:
		return kindsOfConstant(e.value)
	case list:
		return kindList
	case path:
		return kindsOfPath(e.names)
	case negative:
		return kindsOf(e.operand) & kindNumber
	case binary:
		if isArithmetic(e.operator) {
			return kindsOf(e.left) & kindsOf(e.right) & kindNumber
		}
	}
	return kindBoolean
}

func kindsOfConstant(value any) kinds {
	switch value.(type) {
	case string:
		return kindString
	case float64:
		return kindNumber
	case bool:
		return kindBoolean
	case nil:
		return kindNull
	}
	return 0 // undefined
}

// kindsOfPath knows the members of a twin.
func kindsOfPath(names []string) kinds {
	field, below := names[0], names[1:]
	if len(below) == 0 {
		return kindsOfField(field)
	}
	switch field {
	case "tags", "configurations", "capabilities":
		return kindsStored
	case "properties":
		return kindsOfProperty(below)
	case "x509Thumbprint":
		return kindString | kindNull
	}
	return 0
}

func kindsOfField(name string) kinds {
	switch name {
	case "version", "cloudToDeviceMessageCount":
		return kindNumber
	case "tags", "properties", "capabilities", "configurations", "x509Thumbprint":
		return kindObject
	case "parentScopes":
		return kindList
	case "statusReason":
		return kindString | kindNull
	}
	if slices.Contains(topLevelFields[:], name) {
		return kindString
	}
	return 0
}

// kindsOfProperty is given the names below properties.
func kindsOfProperty(names []string) kinds {
	if names[0] != "desired" && names[0] != "reported" {
		return 0
	}
	switch last := names[len(names)-1]; {
	case len(names) == 1:
		return kindObject
	case last == "$version", last == "$lastUpdatedVersion":
		return kindNumber
	case last == "$lastUpdated", last == "$lastUpdatedBy", last == "$lastUpdatedByDigest":
		return kindString
	case slices.Contains(names, "$metadata"):
		return kindObject
	}
	return kindsStored
}
