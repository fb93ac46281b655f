package diff

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// manifests reads the DeviceTwins of files, folders, standard input or a kustomization, as kubectl does.
func (d *command) manifests(namespace string) ([]*v1alpha1.DeviceTwin, error) {
	options := &resource.FilenameOptions{Kustomize: d.kustomize, Recursive: d.recursive}
	build := resource.NewLocalBuilder().Unstructured().NamespaceParam(namespace).DefaultNamespace()
	for _, file := range d.files {
		if file == stdin {
			build.Stream(d.access.In, "standard input")
			continue
		}
		options.Filenames = append(options.Filenames, file)
	}
	infos, err := build.FilenameParam(false, options).Flatten().Do().Infos()
	if err != nil {
		return nil, err
	}
	var twins []*v1alpha1.DeviceTwin
	for _, info := range infos {
		if info.Object.GetObjectKind().GroupVersionKind() != v1alpha1.SchemeGroupVersion.WithKind("DeviceTwin") {
			continue
		}
		twin, err := typed(info.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: DeviceTwin %q: %w", info.Source, info.Name, err)
		}
		if twin.Namespace == "" {
			twin.Namespace = namespace
		}
		twins = append(twins, twin)
	}
	if others := len(infos) - len(twins); others > 0 {
		d.access.Note("left out: %s of other kinds, which write nothing to a hub", terminal.Count(others, "object"))
	}
	return twins, nil
}

// typed reads a DeviceTwin. A field that there is not is an error.
func typed(obj runtime.Object) (*v1alpha1.DeviceTwin, error) {
	read, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("was read as a %T", obj)
	}
	twin := &v1alpha1.DeviceTwin{}
	return twin, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(read.Object, twin, true)
}
