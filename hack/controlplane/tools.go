//go:build tools

// Package controlplane pins the versions of the Kubernetes API server, kubectl
// and etcd that the tests and the demo run against, and of the programs that
// `make e2e` makes a node of. Nothing imports it: the imports below only keep the
// main packages in go.mod.
package controlplane

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
