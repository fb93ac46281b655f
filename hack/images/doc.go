// Command images makes the container images of the project's programs without a daemon: for each of them an OCI layout
// with all platforms, archives for `docker load` and `ctr images import`, and software bills of materials.
//
// The images hold the program, CA roots, and little else. Nothing in them depends on when or where they are made: the
// same commit, with the same tags and the same Go, gives the same digests.
package main
