package main

import "github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/hubclient"

// target is a server as its clients see it.
type target struct {
	serving
	*hubclient.Client
}

// newTarget prepares clients for so many connections at a time. A server
// without a connection string needs no token, and gets one all the same.
func newTarget(s serving, service string, connections int) (*target, error) {
	client, err := hubclient.New(s.HTTPS, s.CA, service, connections)
	if err != nil {
		return nil, err
	}
	return &target{serving: s, Client: client}, nil
}
