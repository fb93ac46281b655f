// Package change has the commands that change objects: suspend, resume, reconcile, approve, adopt, release.
//
// Each object is changed by one small patch that is refused if the object has moved meanwhile; nothing else of it is written.
package change
