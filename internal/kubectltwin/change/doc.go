// Package change has the commands that change objects: suspend, resume, reconcile, adopt and release DeviceTwins;
// suspend, resume, reconcile, pause, abort and roll back DeviceTwinSets; approve what waits for it.
//
// Each object is changed by one small patch that is refused if the object has moved meanwhile; nothing else of it is written.
package change
