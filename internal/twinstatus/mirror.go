package twinstatus

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/utils/ptr"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

const (
	// defaultMirror is the schema's default of spec.mirror.maxBytes: a hundred
	// thousand objects have to fit into etcd and into the memory of who watches them.
	defaultMirror = 4096
	// maxConnectivity is the schema's bound of status.connectivity, in characters.
	maxConnectivity = 256
	// connectivityKey is the reported property that the device tutorial of IoT Hub
	// uses for the kind of network the device is on.
	connectivityKey = "connectivity"
)

// Mirror copies what was seen of a twin into a status: of the reported properties
// those at paths, as far as spec.mirror goes. now is when it was seen.
func Mirror(status *v1alpha1.DeviceTwinStatus, paths [][]string, spec v1alpha1.Mirror, seen *hub.Twin, now time.Time) {
	status.ETag = seen.ETag
	status.DesiredVersion = seen.DesiredVersion
	status.Connectivity = connectivity(seen.Reported, spec)
	state := v1alpha1.ConnectionState(seen.ConnectionState)
	switch {
	case state == "":
		status.Connection = nil
	case status.Connection == nil || status.Connection.State != state:
		status.Connection = &v1alpha1.DeviceConnection{State: state, Since: metav1.NewTime(now)}
	}
	reported := selected(seen.Reported, paths)
	if spec.Credentials != v1alpha1.CredentialsShown {
		reported = hidden(reported)
	}
	status.Reported, status.ReportedTruncated = mirrorReported(reported, int(ptr.Deref(spec.MaxBytes, defaultMirror)))
}

// connectivity is what the device says of its network: a text, or an object whose type
// is one, as the tutorials of IoT Hub for Node.js and C# report it.
func connectivity(reported map[string]any, spec v1alpha1.Mirror) string {
	value := reported[connectivityKey]
	if object, isObject := value.(map[string]any); isObject {
		value = object["type"]
	}
	text, _ := value.(string)
	if spec.Credentials != v1alpha1.CredentialsShown {
		text = credential.Masked(text)
	}
	return outcome.Cut(text, maxConnectivity)
}

// hidden is what may be shown of reported properties to all who may read the object.
func hidden(reported map[string]any) map[string]any {
	redacted, _ := credential.Redacted(reported)
	shown, _ := redacted.(map[string]any)
	return shown
}

// selected is what is to be mirrored of the reported properties.
func selected(reported map[string]any, paths [][]string) map[string]any {
	if len(paths) == 0 {
		return reported
	}
	out := map[string]any{}
	for _, keys := range paths {
		value, found, err := unstructured.NestedFieldNoCopy(reported, keys...)
		if !found || err != nil {
			continue // not reported, or a scalar stands where the path goes on
		}
		into := out
		for _, key := range keys[:len(keys)-1] {
			below, isObject := into[key].(map[string]any)
			if !isObject {
				below = map[string]any{}
				into[key] = below
			}
			into = below
		}
		into[keys[len(keys)-1]] = value
	}
	return out
}

// mirrorReported spells reported properties as the API server will store them, so
// that an unchanged twin compares equal. What does not fit is left out key by key.
func mirrorReported(reported map[string]any, limit int) (*runtime.RawExtension, string) {
	if len(reported) == 0 || limit == 0 {
		return nil, ""
	}
	kept, size, left := map[string]any{}, len("{}"), 0
	for _, key := range slices.Sorted(maps.Keys(reported)) {
		member, err := json.Marshal(map[string]any{key: reported[key]})
		if err != nil || size+len(member) > limit {
			left++
			continue
		}
		kept[key] = reported[key]
		size += len(member) - 1 // the braces of its own, less a comma
	}
	raw, err := AsStored(kept)
	if err != nil {
		return nil, "the reported properties could not be mirrored: " + outcome.Cut(err.Error(), 128)
	}
	if left == 0 {
		return raw, ""
	}
	return raw, fmt.Sprintf("%d of %d top-level keys are left out: the mirror holds at most %d bytes", left, len(reported), limit)
}

// AsStored spells a value the way it comes back from the API server, which reads integers as
// integers and every other number as a float64. A number that is larger is an error.
func AsStored(value any) (*runtime.RawExtension, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var normal any
	if err := json.Unmarshal(text, &normal); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(normal); err != nil {
		return nil, err
	}
	return &runtime.RawExtension{Raw: text}, nil
}
