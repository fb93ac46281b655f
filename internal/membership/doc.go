// Package membership finds out which twins each TwinQuery selects, and tells each DeviceTwin
// which queries select it: a hub's answer is the base, and a twin that was read since is
// held against the condition itself. TwinQueries that ask the same share one query of the hub.
//
// It writes no object. What it asks a hub costs permits, which its caller brings, but for
// the scans, which go on beside all else and gently.
package membership
