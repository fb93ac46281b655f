package conformance_test

import (
	"encoding/json"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// entraSubject is who the applications' assertions are about.
const entraSubject = "system:serviceaccount:plants:twins"

// entraApplications are the client ids of applications, by the roles that each
// has at the hub.
func entraApplications() map[string]string {
	return map[string]string{
		"IoT Hub Data Contributor":     "c0000000-0000-4000-8000-000000000001",
		"IoT Hub Registry Contributor": "c0000000-0000-4000-8000-000000000002",
		"Contributor":                  "c0000000-0000-4000-8000-000000000003",
	}
}

// entraHub has an issuer of its own, where the applications may sign in.
func entraHub() hubemulator.Options {
	opts := hubemulator.Options{Issuer: &issuer.Options{}, EntraRoles: map[string][]string{}}
	for role, id := range entraApplications() {
		opts.EntraRoles[id] = []string{role}
		opts.Issuer.Applications = append(opts.Issuer.Applications, issuer.Application{
			ClientID: id, Federated: []issuer.FederatedCredential{{Subject: entraSubject}},
		})
	}
	return opts
}

// entraEnvironment tells a suite where to sign in.
func entraEnvironment(t *testing.T, own *issuer.Server) []string {
	t.Helper()
	applications, err := json.Marshal(entraApplications())
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"AZURE_AUTHORITY_HOST=" + own.AuthorityHost(),
		"AZURE_TENANT_ID=" + own.Tenant(),
		"HUB_ENTRA_APPLICATIONS=" + string(applications),
		"HUB_ENTRA_SUBJECT=" + entraSubject,
	}
}
