package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// givenFlags name files with what the hub makes itself otherwise.
type givenFlags struct {
	policyKeys    []string
	cert, certKey string
}

func addGivenFlags(flags *pflag.FlagSet) *givenFlags {
	f := &givenFlags{}
	flags.StringArrayVar(&f.policyKeys, "policy-key-file", nil, "`POLICY=FILE`: take the primary key of a policy, such as service, from a file; repeat for more")
	flags.StringVar(&f.cert, "ca-cert-file", "", "`file` with the PEM certificate of a CA to issue the hub's certificate, in place of its own")
	flags.StringVar(&f.certKey, "ca-key-file", "", "`file` with that CA's PEM key")
	return f
}

func (f *givenFlags) apply(opts *hubemulator.Options) error {
	for _, text := range f.policyKeys {
		policy, file, found := strings.Cut(text, "=")
		if !found || policy == "" || file == "" {
			return fmt.Errorf("--policy-key-file %q should be POLICY=FILE, such as service=service.key", text)
		}
		var key []byte
		if err := readInto(&key, "policy-key-file", file); err != nil {
			return err
		}
		if opts.PolicyKeys == nil {
			opts.PolicyKeys = map[string]string{}
		}
		opts.PolicyKeys[policy] = strings.TrimSpace(string(key))
	}
	if err := readInto(&opts.CACertificate, "ca-cert-file", f.cert); err != nil {
		return err
	}
	return readInto(&opts.CAKey, "ca-key-file", f.certKey)
}
