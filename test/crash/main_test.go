package crash_test

import (
	"os"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// The account of the managers under test.
const (
	managersNamespace = "devicetwin-system"
	managersAccount   = "manager"
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
		must(env.GrantRoles("", rbacv1.Subject{
			APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind,
			Name: "system:serviceaccount:" + managersNamespace + ":" + managersAccount,
		}))
	}))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
