// Package admission refuses objects that break a rule of internal/validation
// when they are applied, and warns of what is probably not meant. The API
// server asks it for create and for updates of the declaration; where it is not
// asked, the controllers report the same in the object's conditions.
package admission

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// The files of a certificate, as cert-manager and Secrets of type
// kubernetes.io/tls name them.
const (
	certName = "tls.crt"
	keyName  = "tls.key"
)

// NewServer prepares the HTTPS server of the webhooks, for the manager's
// options. The certificate is tls.crt and tls.key in certDir; new ones are taken
// up while it runs. What keeps it from starting is an error here.
func NewServer(address, certDir string) (webhook.Server, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the webhooks' address: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("the webhooks' address %q: the port must be a number from 1 to 65535", address)
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(certDir, certName), filepath.Join(certDir, keyName)); err != nil {
		return nil, fmt.Errorf("the webhooks' certificate in %s: %w", certDir, err)
	}
	return webhook.NewServer(webhook.Options{
		Host: host, Port: int(port), CertDir: certDir, CertName: certName, KeyName: keyName,
		// HTTP/2 has let one client exhaust a server; admission needs none of it.
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
	}), nil
}

// The conditions spare the API server the call where the declaration stays as it
// is: an object that was admitted while no webhook was served can still be labelled, and the
// controllers' own notes on an object do not wait for a webhook that is down.
//
// +kubebuilder:webhookconfiguration:mutating=false,name=validation
// +kubebuilder:webhook:path=/validate-iothub-devicetwin-io-v1alpha1-devicetwin,mutating=false,failurePolicy=ignore,sideEffects=None,matchPolicy=Equivalent,timeoutSeconds=5,groups=iothub.devicetwin.io,resources=devicetwins,verbs=create;update,versions=v1alpha1,name=devicetwins.iothub.devicetwin.io,admissionReviewVersions=v1,serviceName=webhook,serviceNamespace=devicetwin-system,patch=`{"matchConditions":[{"name":"declaration-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"}]}`
// +kubebuilder:webhook:path=/validate-iothub-devicetwin-io-v1alpha1-devicetwinset,mutating=false,failurePolicy=ignore,sideEffects=None,matchPolicy=Equivalent,timeoutSeconds=5,groups=iothub.devicetwin.io,resources=devicetwinsets,verbs=create;update,versions=v1alpha1,name=devicetwinsets.iothub.devicetwin.io,admissionReviewVersions=v1,serviceName=webhook,serviceNamespace=devicetwin-system,patch=`{"matchConditions":[{"name":"declaration-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"}]}`
// +kubebuilder:webhook:path=/validate-iothub-devicetwin-io-v1alpha1-hubconnection,mutating=false,failurePolicy=ignore,sideEffects=None,matchPolicy=Equivalent,timeoutSeconds=5,groups=iothub.devicetwin.io,resources=hubconnections,verbs=create;update,versions=v1alpha1,name=hubconnections.iothub.devicetwin.io,admissionReviewVersions=v1,serviceName=webhook,serviceNamespace=devicetwin-system,patch=`{"matchConditions":[{"name":"declaration-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"}]}`
// +kubebuilder:webhook:path=/validate-iothub-devicetwin-io-v1alpha1-twinquery,mutating=false,failurePolicy=ignore,sideEffects=None,matchPolicy=Equivalent,timeoutSeconds=5,groups=iothub.devicetwin.io,resources=twinqueries,verbs=create;update,versions=v1alpha1,name=twinqueries.iothub.devicetwin.io,admissionReviewVersions=v1,serviceName=webhook,serviceNamespace=devicetwin-system,patch=`{"matchConditions":[{"name":"declaration-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"}]}`
// +kubebuilder:webhook:path=/validate-iothub-devicetwin-io-v1alpha1-twinrequest,mutating=false,failurePolicy=ignore,sideEffects=None,matchPolicy=Equivalent,timeoutSeconds=5,groups=iothub.devicetwin.io,resources=twinrequests,verbs=create;update,versions=v1alpha1,name=twinrequests.iothub.devicetwin.io,admissionReviewVersions=v1,serviceName=webhook,serviceNamespace=devicetwin-system,patch=`{"matchConditions":[{"name":"declaration-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"}]}`

// Setup adds the webhooks of all kinds to a manager's webhook server.
func Setup(mgr ctrl.Manager) error {
	return errors.Join(
		add(mgr, &v1alpha1.DeviceTwin{}, "DeviceTwin", func(obj *v1alpha1.DeviceTwin) ([]string, field.ErrorList) {
			declared, errs := validation.DeviceTwin(obj)
			if len(errs) > 0 {
				return nil, errs
			}
			return validation.DeviceTwinDoubts(declared), nil
		}),
		add(mgr, &v1alpha1.DeviceTwinSet{}, "DeviceTwinSet", func(obj *v1alpha1.DeviceTwinSet) ([]string, field.ErrorList) {
			declared, errs := validation.DeviceTwinSet(obj)
			if len(errs) > 0 {
				return nil, errs
			}
			return validation.DeviceTwinSetDoubts(declared), nil
		}),
		add(mgr, &v1alpha1.HubConnection{}, "HubConnection", func(obj *v1alpha1.HubConnection) ([]string, field.ErrorList) {
			return validation.HubConnectionDoubts(obj), validation.HubConnection(obj)
		}),
		add(mgr, &v1alpha1.TwinQuery{}, "TwinQuery", func(obj *v1alpha1.TwinQuery) ([]string, field.ErrorList) {
			condition, errs := validation.TwinQuery(obj)
			if len(errs) > 0 {
				return nil, errs
			}
			return validation.TwinQueryDoubts(obj, condition), nil
		}),
		add(mgr, &v1alpha1.TwinRequest{}, "TwinRequest", func(obj *v1alpha1.TwinRequest) ([]string, field.ErrorList) {
			return validation.TwinRequestDoubts(obj), validation.TwinRequest(obj)
		}),
	)
}

func add[T client.Object](mgr ctrl.Manager, obj T, kind string, check func(T) ([]string, field.ErrorList)) error {
	if err := ctrl.NewWebhookManagedBy(mgr, obj).WithValidator(&validator[T]{kind: kind, check: check}).Complete(); err != nil {
		return fmt.Errorf("adding the webhook of %s: %w", kind, err)
	}
	return nil
}
