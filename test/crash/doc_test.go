// Package crash_test stops the manager with SIGKILL at each of its writes to the
// API server and to the hub, at four boundaries of each, and holds what the next
// manager makes of it against what was declared.
//
// `make crash-matrix` runs every scenario and prints the matrix; `make test` runs
// the scenarios of inEveryRun.
package crash_test
