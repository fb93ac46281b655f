package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion is the group and version of every kind in this package.
var SchemeGroupVersion = schema.GroupVersion{Group: "iothub.devicetwin.io", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package with a runtime.Scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion,
		&HubConnection{}, &HubConnectionList{},
		&DeviceTwin{}, &DeviceTwinList{},
		&TwinQuery{}, &TwinQueryList{},
		&TwinRequest{}, &TwinRequestList{},
		&DeviceTwinSet{}, &DeviceTwinSetList{},
	)
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	return nil
}
