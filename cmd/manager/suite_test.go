package main

import (
	"os"
	"testing"

	"go.uber.org/zap/zapcore"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// managerVariable makes this program the manager when it is set, with its flags as
// arguments: tests run managers as processes of their own.
const managerVariable = "DEVICETWIN_TEST_MANAGER"

// suite is what the tests of this package share: an API server, nothing in it.
var suite struct{ env *testenv.Env }

func TestMain(m *testing.M) {
	if os.Getenv(managerVariable) != "" {
		main()
		os.Exit(0)
	}
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.Level(zapcore.FatalLevel))) // what fails is asserted, not printed
	os.Exit(testenv.Run(m, testenv.Options{}, func(env *testenv.Env) { suite.env = env }))
}
