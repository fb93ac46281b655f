// Package readback finds out which twins moved on a hub without reading each of
// them: it keeps a fingerprint of every managed twin, asks the hub's index what was
// written since, looks at all of it now and then for what has no time of its own
// (tags, connections, deletions), and reads only what moved, a hundred at a time.
//
// What an index says is a hint: it may be late, list what was deleted, or miss what
// is new. A document from it is shown only if it is newer than what is known, and
// whatever contradicts what is known is left to a direct read to decide.
package readback
