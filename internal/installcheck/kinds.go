package installcheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// resources are what the API server has to serve, each with its status.
func resources() []string {
	var out []string
	for _, name := range []string{"devicetwins", "devicetwinsets", "hubconnections", "twinqueries", "twinrequests"} {
		out = append(out, name, name+"/status")
	}
	return out
}

func (c *checker) kinds(ctx context.Context) (string, error) {
	const install = "install the CustomResourceDefinitions of this version, with crds.enabled or config/crd"
	server, err := discovery.NewDiscoveryClientForConfig(c.Config)
	if err != nil {
		return "", err
	}
	groups, err := server.ServerGroupsWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the API server for its groups: %w", err)
	}
	group, version := v1alpha1.SchemeGroupVersion.Group, v1alpha1.SchemeGroupVersion.Version
	i := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == group })
	if i < 0 {
		return "", fmt.Errorf("the API server does not serve %s: %s", group, install)
	}
	var versions []string
	for _, served := range groups.Groups[i].Versions {
		versions = append(versions, served.Version)
	}
	if !slices.Contains(versions, version) {
		return "", fmt.Errorf("the API server serves %s at %s, not at %s: %s", group, strings.Join(versions, ", "), version, install)
	}
	list, err := server.ServerResourcesForGroupVersionWithContext(ctx, v1alpha1.SchemeGroupVersion.String())
	if err != nil {
		return "", fmt.Errorf("asking the API server for %s: %w", v1alpha1.SchemeGroupVersion, err)
	}
	var missing []string
	for _, name := range resources() {
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == name }) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%s has no %s: %s", v1alpha1.SchemeGroupVersion, strings.Join(missing, ", "), install)
	}
	return fmt.Sprintf("the API server serves DeviceTwin, DeviceTwinSet, HubConnection, TwinQuery and TwinRequest at %s", v1alpha1.SchemeGroupVersion), nil
}
