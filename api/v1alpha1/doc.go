// Package v1alpha1 holds the API that declares Azure IoT Hub device twins to
// Kubernetes: HubConnection (how to reach a hub), DeviceTwin (what is declared
// about one device and what is seen of it), TwinQuery (a named condition over a hub's
// devices) and TwinRequest (one question to a hub).
//
// +kubebuilder:object:generate=true
// +groupName=iothub.devicetwin.io
package v1alpha1
