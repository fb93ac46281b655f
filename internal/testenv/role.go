package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// GrantManagerRole grants the manager's generated role, config/rbac/role.yaml, so
// that a permission that the controllers lack fails their tests. It is for once in
// the life of an API server.
func (e *Env) GrantManagerRole(to ...rbacv1.Subject) error {
	root, err := ProjectRoot()
	if err != nil {
		return err
	}
	file := filepath.Join(root, "config", "rbac", "role.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	admin, err := client.New(e.Config(), client.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := admin.Create(ctx, &role); err != nil {
		return err
	}
	return admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   to,
	})
}
