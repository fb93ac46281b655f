// Package query reads, writes and evaluates the query language of IoT Hub, as
// far as it applies to device twins, module twins and jobs.
//
// A Condition is the text behind WHERE; a Query is a whole SELECT. Both are
// parsed from text, print themselves in one canonical spelling, and are
// evaluated on a Document: a twin as encoding/json decodes it, where objects
// are map[string]any, arrays []any, numbers float64, json.Number or Go's
// integers, or anything that can answer for such a twin's properties. The
// documents of a query over jobs say what one job did to one device.
//
// Evaluation knows a third truth value besides true and false. Anything that
// has no answer, such as a comparison with a missing property or between
// different types, is undefined, and so is its negation; a condition selects
// a document only where it is exactly true. Hence "tags.x != 'a'" does not
// select a twin without tags.x.
//
// The package depends on the standard library only and never changes the
// documents it is given.
package query

// MaxLength is the longest query text that IoT Hub accepts, in characters.
const MaxLength = 8192

// No text can exhaust the stack: operations may contain one another up to
// maxHeight deep, however they are spelled, and the parser follows
// parentheses, NOT and signs up to maxNesting deep. The latter leaves room for
// the parentheses that the canonical spelling adds, at most two a level.
const (
	maxHeight  = 64
	maxNesting = 4 * maxHeight
)
