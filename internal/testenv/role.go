package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The roles of config/rbac/role.yaml: what every manager needs, and what those need that
// make Secrets for devices.
const (
	ManagerRole       = "manager-role"
	SecretCreatorRole = "secret-creator-role"
)

// GrantRoles grants the manager's generated roles of these names, all of them without any,
// so that a permission that the controllers lack fails their tests: by Roles in a namespace,
// or by ClusterRoles where namespace is empty.
func (e *Env) GrantRoles(namespace string, to rbacv1.Subject, names ...string) error {
	roles, err := managerRoles()
	if err != nil {
		return err
	}
	admin, err := client.New(e.Config(), client.Options{})
	if err != nil {
		return err
	}
	for _, role := range roles {
		if len(names) > 0 && !slices.Contains(names, role.Name) {
			continue
		}
		if err := grant(admin, namespace, to, role); err != nil {
			return fmt.Errorf("granting %s to %s: %w", role.Name, to.Name, err)
		}
	}
	return nil
}

func grant(admin client.Client, namespace string, to rbacv1.Subject, role rbacv1.ClusterRole) error {
	ctx := context.Background()
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}
	meta := metav1.ObjectMeta{Namespace: namespace, GenerateName: role.Name + "-"}
	if namespace == "" {
		err := admin.Create(ctx, role.DeepCopy())
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: []rbacv1.Subject{to}}
		return errors.Join(client.IgnoreAlreadyExists(err), admin.Create(ctx, binding))
	}
	ref.Kind = "Role"
	err := admin.Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role.Name}, Rules: role.Rules})
	binding := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: []rbacv1.Subject{to}}
	return errors.Join(client.IgnoreAlreadyExists(err), admin.Create(ctx, binding))
}

// managerRoles reads config/rbac/role.yaml, which has at least one role.
func managerRoles() ([]rbacv1.ClusterRole, error) {
	root, err := ProjectRoot()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(root, "config", "rbac", "role.yaml")
	text, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer text.Close()
	var roles []rbacv1.ClusterRole
	decoder := utilyaml.NewYAMLOrJSONDecoder(text, 4096)
	for {
		var role rbacv1.ClusterRole
		err := decoder.Decode(&role)
		if errors.Is(err, io.EOF) {
			return roles, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if role.Name != "" { // what stands before the first separator is no role
			roles = append(roles, role)
		}
	}
}
