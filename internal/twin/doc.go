// Package twin plans what to write to a device twin: which leaves to set, which
// to delete, and which to leave alone, from what is declared, what was recorded
// as written before, and what the hub holds. It does no I/O and keeps no state.
//
// A leaf is a scalar or an array; an object without members counts as a leaf
// where it is declared. A declaration owns exactly the leaves it names.
package twin
