package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestEveryRightOfTheManagerIsExplained: each rule of its roles has a row in docs/security.md.
func TestEveryRightOfTheManagerIsExplained(t *testing.T) {
	t.Parallel()
	var rules []string
	for role, file := range map[string]string{
		"manager-role": "role.yaml", "secret-creator-role": "role.yaml",
		"leader-election-role": "leader-election.yaml", "metrics-auth-role": "metrics.yaml",
	} {
		for _, rule := range rulesOf(t, file, role) {
			rules = append(rules, strings.Join(slices.Sorted(slices.Values(rule.Verbs)), ", ")+" "+strings.Join(rule.Resources, ", "))
		}
	}
	slices.Sort(rules)
	if diff := cmp.Diff(rules, firstCells(t, "security.md")); diff != "" {
		t.Errorf("rules of config/rbac and rows of docs/security.md (-rules +rows):\n%s", diff)
	}
}

// rulesOf are the rules of a role in a file of config/rbac.
func rulesOf(t *testing.T, file, name string) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "config", "rbac", file))
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "---\n") {
		var role rbacv1.ClusterRole // a Role has the same rules
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if role.Name == name {
			return role.Rules
		}
	}
	t.Fatalf("%s has no role %s", file, name)
	return nil
}
