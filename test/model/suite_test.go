package model_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// suite is what all sequences share: an API server, its administrator's client, a cache
// for what is reconciled again and again, and what the API server serves.
var suite struct {
	env    *testenv.Env
	scheme *runtime.Scheme
	client client.Client
	cache  cache.Cache
	mapper meta.RESTMapper
	// certificate is that of the hubs, as the managers see them.
	certificate    tls.Certificate
	certificatePEM []byte
}

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.Level(zapcore.FatalLevel))) // managers are disturbed on purpose
	if suite.env, err = testenv.Start(testenv.Options{}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, suite.env.Stop()) }()
	if err := prepare(suite.env.Config()); err != nil {
		return 1, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- suite.cache.Start(ctx) }()
	code = m.Run()
	stop()
	return code, <-ended
}

func prepare(admin *rest.Config) error {
	suite.scheme = runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(suite.scheme); err != nil {
			return err
		}
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		return err
	}
	if suite.certificate, err = tls.X509KeyPair(certificate, key); err != nil {
		return err
	}
	suite.certificatePEM = certificate
	transport, err := rest.HTTPClientFor(admin)
	if err != nil {
		return err
	}
	if suite.mapper, err = apiutil.NewDynamicRESTMapper(admin, transport); err != nil {
		return err
	}
	if suite.client, err = client.New(admin, client.Options{Scheme: suite.scheme, Mapper: suite.mapper, HTTPClient: transport}); err != nil {
		return err
	}
	suite.cache, err = cache.New(admin, cache.Options{Scheme: suite.scheme, Mapper: suite.mapper, HTTPClient: transport})
	return err
}
