package crash_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	// managersNamespace and managersAccount are who the managers under test are.
	managersNamespace = "devicetwin-system"
	managersAccount   = "manager"

	roleFile = "../../config/rbac/role.yaml"
)

// suite is what all cells of the matrix share: an API server, nothing in it.
var suite struct {
	env    *testenv.Env
	scheme *runtime.Scheme
}

// TestMain is also where the managers begin: each is this program again.
func TestMain(m *testing.M) {
	suite.scheme = runtime.NewScheme()
	must(clientgoscheme.AddToScheme(suite.scheme))
	must(v1alpha1.AddToScheme(suite.scheme))
	if os.Getenv(managerVariable) != "" {
		os.Exit(manage(os.Stdin, os.Stderr))
	}
	os.Exit(testenv.Run(m, testenv.Options{}, func(env *testenv.Env) {
		suite.env = env
		must(grantManagers(env))
	}))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// grantManagers gives the generated role to the managers, so that a permission
// that they lack fails the tests.
func grantManagers(env *testenv.Env) error {
	text, err := os.ReadFile(roleFile)
	if err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		return fmt.Errorf("%s: %w", roleFile, err)
	}
	admin, err := client.New(env.Config(), client.Options{Scheme: suite.scheme})
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
		Subjects: []rbacv1.Subject{{
			APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind,
			Name: "system:serviceaccount:" + managersNamespace + ":" + managersAccount,
		}},
	})
}
