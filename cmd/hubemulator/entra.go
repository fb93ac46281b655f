package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// entraFlags are the flags about Entra ID that have to be read further.
type entraFlags struct {
	caFile string
	roles  []string

	address, tenant      string
	apps                 []string
	trusted, trustedJWKS string
}

func addEntraFlags(flags *pflag.FlagSet, opts *hubemulator.Options) *entraFlags {
	f := &entraFlags{}
	flags.StringVar(&opts.EntraIssuer, "entra-issuer", "", "`URL` of an issuer (iss) whose access tokens the service API takes")
	flags.StringVar(&opts.EntraJWKS, "entra-jwks", "", "https URL or `file` of that issuer's JSON Web Key Set")
	flags.StringVar(&f.caFile, "entra-ca-file", "", "`file` with PEM certificates of the CAs to trust at the URL of --entra-jwks; the system's by default")
	flags.StringArrayVar(&f.roles, "entra-role", nil, "`PRINCIPAL=ROLE`: assign a role to an object id or application id; repeat for more")
	flags.BoolVar(&opts.DisableLocalAuth, "disable-local-auth", false, "refuse the keys of the hub's policies; devices' own keys stay good")
	flags.StringVar(&f.address, "issuer-address", "", "`host:port` of an issuer of the hub's own; none by default")
	flags.StringVar(&f.tenant, "issuer-tenant", issuer.DefaultTenant, "`GUID` of that issuer's tenant")
	flags.StringArrayVar(&f.apps, "issuer-app", nil, "`CLIENT-ID=SUBJECT`: an application, and whose tokens it signs in with; repeat for more")
	flags.StringVar(&f.trusted, "issuer-trusted", "", "`URL` of the issuer that those tokens have to be from; by default neither that nor the signature is checked")
	flags.StringVar(&f.trustedJWKS, "issuer-trusted-jwks", "", "`file` with the JSON Web Key Set of --issuer-trusted: kubectl get --raw /openid/v1/jwks")
	return f
}

func (f *entraFlags) apply(opts *hubemulator.Options) error {
	if err := readInto(&opts.EntraCAs, "entra-ca-file", f.caFile); err != nil {
		return err
	}
	for _, text := range f.roles {
		principal, role, found := strings.Cut(text, "=")
		if !found || principal == "" || role == "" {
			return fmt.Errorf("--entra-role %q should be PRINCIPAL=ROLE, such as b0000000-0000-4000-8000-000000000001=IoT Hub Data Reader", text)
		}
		if opts.EntraRoles == nil {
			opts.EntraRoles = map[string][]string{}
		}
		opts.EntraRoles[principal] = append(opts.EntraRoles[principal], role)
	}
	if f.address == "" {
		if len(f.apps) > 0 || f.trusted != "" || f.trustedJWKS != "" {
			return errors.New("--issuer-app, --issuer-trusted and --issuer-trusted-jwks should come with --issuer-address")
		}
		return nil
	}
	var err error
	opts.Issuer, err = f.issuer()
	return err
}

func (f *entraFlags) issuer() (*issuer.Options, error) {
	opts := &issuer.Options{Address: f.address, Tenant: f.tenant}
	if (f.trusted == "") != (f.trustedJWKS == "") {
		return nil, errors.New("--issuer-trusted and --issuer-trusted-jwks should be given together")
	}
	if f.trusted != "" {
		trusted := issuer.TrustedIssuer{Issuer: f.trusted}
		if err := readInto(&trusted.JWKS, "issuer-trusted-jwks", f.trustedJWKS); err != nil {
			return nil, err
		}
		opts.Trusted = []issuer.TrustedIssuer{trusted}
	}
	known := map[string]int{}
	for _, text := range f.apps {
		id, subject, found := strings.Cut(text, "=")
		if !found {
			return nil, fmt.Errorf("--issuer-app %q should be CLIENT-ID=SUBJECT, such as c0000000-0000-4000-8000-000000000001=system:serviceaccount:NAMESPACE:NAME", text)
		}
		at, again := known[id]
		if !again {
			at = len(opts.Applications)
			known[id] = at
			opts.Applications = append(opts.Applications, issuer.Application{ClientID: id})
		}
		application := &opts.Applications[at]
		application.Federated = append(application.Federated, issuer.FederatedCredential{Subject: subject, Issuer: f.trusted})
	}
	return opts, nil
}
