// Command etcd is the etcd server, built from its public entry point: the
// release's own main package is not part of a Go module that can be required.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
