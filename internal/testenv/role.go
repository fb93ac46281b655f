package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	roles, err := rolesIn("role.yaml")
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

// GrantLeaderElection grants what managers of a Lease need in its namespace, as
// config/rbac/leader-election.yaml does for the Lease of a manager of everything.
func (e *Env) GrantLeaderElection(namespace, lease string, to rbacv1.Subject) error {
	roles, err := rolesIn("leader-election.yaml")
	if err != nil {
		return err
	}
	admin, err := client.New(e.Config(), client.Options{})
	if err != nil {
		return err
	}
	role := roles[0]
	for i := range role.Rules {
		if len(role.Rules[i].ResourceNames) > 0 {
			role.Rules[i].ResourceNames = []string{lease}
		}
	}
	return grant(admin, namespace, to, role)
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

// rolesIn reads the roles in a file of config/rbac, of which there is one at least.
func rolesIn(name string) ([]rbacv1.ClusterRole, error) {
	root, err := ProjectRoot()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(root, "config", "rbac", name)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var roles []rbacv1.ClusterRole
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var role rbacv1.ClusterRole // a Role has the same rules
		err := decoder.Decode(&role)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if strings.HasSuffix(role.Kind, "Role") { // not a binding, nor what stands before the first separator
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		return nil, fmt.Errorf("%s has no role", file)
	}
	return roles, nil
}
