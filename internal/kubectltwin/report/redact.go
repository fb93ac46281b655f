package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/past"
)

// maxLine bounds a line of a log, in bytes: what is longer is left out.
const maxLine = 1 << 20

// redacted is an object as YAML, without what is noise in a report and what may be a credential.
func redacted(obj client.Object) ([]byte, error) {
	if twin, isTwin := obj.(*v1alpha1.DeviceTwin); isTwin {
		twin.Status.History = past.Hidden(twin.Status.History) // the names of leaves are values there
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, "kubectl.kubernetes.io/last-applied-configuration") // the spec once more, as a text
		}
	}
	shown, _ := credential.Redacted(object)
	return yaml.Marshal(shown)
}

// redactLog copies a log line by line. Of a line that is JSON, as the manager writes them, single values are hidden; of
// any other the line.
func redactLog(out io.Writer, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if _, err := fmt.Fprintln(out, redactedLine(lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func redactedLine(line []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || decoder.More() {
		return credential.Masked(string(line))
	}
	shown, _ := credential.Redacted(object)
	text, err := json.Marshal(shown)
	if err != nil {
		return credential.Hidden
	}
	return string(text)
}
