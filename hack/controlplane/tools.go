//go:build tools

// Package controlplane pins the versions of the Kubernetes API server, kubectl
// and etcd that the tests and the demo run against. Nothing imports it: the
// imports below only keep the three main packages in go.mod.
package controlplane

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
