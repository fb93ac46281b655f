package testenv

import (
	"fmt"
	"os"
	"path/filepath"
)

// auditPolicy records every answered request once, without bodies: a Secret's
// content must not end up in a log.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
`

// configureAudit makes the API server write an audit log to path. Its log
// back end blocks by default, so a line is there before the answer is.
func (e *Env) configureAudit(path string) error {
	policy := filepath.Join(e.scratch, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	e.envtest.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", policy).
		Set("audit-log-path", path)
	return nil
}
