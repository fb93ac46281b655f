package hubemulator

import (
	"fmt"
	"maps"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/certificate"
)

// takeGiven puts the keys and the authority that the hub is given in place of those
// that it has.
func (s *Server) takeGiven() error {
	for _, policy := range slices.Sorted(maps.Keys(s.opts.PolicyKeys)) {
		if err := s.store.SetPolicyKey(policy, s.opts.PolicyKeys[policy]); err != nil {
			return fmt.Errorf("the key of policy %q: %w", policy, err)
		}
	}
	given := certificate.Pair{Certificate: string(s.opts.CACertificate), Key: string(s.opts.CAKey)}
	if given == (certificate.Pair{}) || given == s.kept.certificates.Authority {
		return nil
	}
	s.kept.certificates = certificate.Keys{Authority: given}
	return s.kept.certificates.Check()
}
