package cluster

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// FieldManager is who the API server notes for what the commands write.
const FieldManager = "kubectl-twin"

// A command reads and writes one object after the other: the API server has its own fairness.
const (
	clientQPS   = 200
	clientBurst = 400
)

// Access is how a command reaches a cluster and its user.
type Access struct {
	genericiooptions.IOStreams
	// Clock is the wall clock, or a test's.
	Clock clock.WithTicker
	// Getenv reads the environment.
	Getenv func(string) string

	flags    *genericclioptions.ConfigFlags
	noColour bool
}

// New returns the access of a command with these streams.
func New(streams genericiooptions.IOStreams) *Access {
	return &Access{IOStreams: streams, Clock: clock.RealClock{}, Getenv: os.Getenv, flags: genericclioptions.NewConfigFlags(true)}
}

// AddFlags adds the flags that all commands have.
func (a *Access) AddFlags(flags *pflag.FlagSet) {
	a.flags.AddFlags(flags)
	flags.BoolVar(&a.noColour, "no-color", false, "write no colors; the environment variable NO_COLOR does the same")
}

// Screen is standard output.
func (a *Access) Screen() *terminal.Screen { return terminal.NewScreen(a.Out, a.noColour, a.Getenv) }

// Progress tells on standard error how far something is.
func (a *Access) Progress(what string) *terminal.Progress {
	return terminal.NewProgress(a.ErrOut, a.Clock, what)
}

// Namespace is the one that the user named, or that of the current context.
func (a *Access) Namespace() (string, error) {
	namespace, _, err := a.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", Explained(err)
	}
	return namespace, nil
}

// Config is how to reach the API server.
func (a *Access) Config() (*rest.Config, error) {
	config, err := a.flags.ToRESTConfig()
	if err != nil {
		return nil, Explained(err)
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = FieldManager + "/" + version.Get()
	config.WarningHandler = rest.NewWarningWriter(a.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// Client returns a client of the API server. It asks for no discovery: the kinds are known.
func (a *Access) Client() (client.WithWatch, error) {
	config, err := a.Config()
	if err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: newMapper()})
	if err != nil {
		return nil, Explained(err)
	}
	return c, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, eventsv1.AddToScheme,
		coordinationv1.AddToScheme, admissionv1.AddToScheme, authorizationv1.AddToScheme, apiextensionsv1.AddToScheme)
	return scheme, errors.Join(builder.AddToScheme(scheme))
}

// newMapper knows the resources of every kind that a command reads.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, known := range []struct {
		group  schema.GroupVersion
		kind   string
		plural string
		scope  meta.RESTScope
	}{
		{v1alpha1.SchemeGroupVersion, "DeviceTwin", "devicetwins", meta.RESTScopeNamespace},
		{v1alpha1.SchemeGroupVersion, "HubConnection", "hubconnections", meta.RESTScopeNamespace},
		{v1alpha1.SchemeGroupVersion, "TwinQuery", "twinqueries", meta.RESTScopeNamespace},
		{v1alpha1.SchemeGroupVersion, "TwinRequest", "twinrequests", meta.RESTScopeNamespace},
		{v1alpha1.SchemeGroupVersion, "DeviceTwinSet", "devicetwinsets", meta.RESTScopeNamespace},
		{corev1.SchemeGroupVersion, "Secret", "secrets", meta.RESTScopeNamespace},
		{corev1.SchemeGroupVersion, "Pod", "pods", meta.RESTScopeNamespace},
		{corev1.SchemeGroupVersion, "Namespace", "namespaces", meta.RESTScopeRoot},
		{appsv1.SchemeGroupVersion, "Deployment", "deployments", meta.RESTScopeNamespace},
		{eventsv1.SchemeGroupVersion, "Event", "events", meta.RESTScopeNamespace},
		{coordinationv1.SchemeGroupVersion, "Lease", "leases", meta.RESTScopeNamespace},
		{admissionv1.SchemeGroupVersion, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", meta.RESTScopeRoot},
		{authorizationv1.SchemeGroupVersion, "SelfSubjectAccessReview", "selfsubjectaccessreviews", meta.RESTScopeRoot},
		{authorizationv1.SchemeGroupVersion, "SubjectAccessReview", "subjectaccessreviews", meta.RESTScopeRoot},
		{apiextensionsv1.SchemeGroupVersion, "CustomResourceDefinition", "customresourcedefinitions", meta.RESTScopeRoot},
	} {
		singular := known.group.WithResource(known.plural)
		mapper.AddSpecific(known.group.WithKind(known.kind), known.group.WithResource(known.plural), singular, known.scope)
	}
	return mapper
}

// Note tells the user something that is no part of the output.
func (a *Access) Note(format string, args ...any) { fmt.Fprintf(a.ErrOut, format+"\n", args...) }
