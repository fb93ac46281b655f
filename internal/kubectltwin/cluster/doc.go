// Package cluster is how the commands of kubectl-twin reach the objects of a cluster: the flags of kubectl, a client, lists
// in pages, which objects the user chose, and errors in one line.
package cluster
