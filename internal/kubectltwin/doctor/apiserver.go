package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiversion "k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/config/crd"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// maxSkew is how far this machine's clock may be off: the header that it is held against has whole seconds.
const maxSkew = 5 * time.Second

// apiServer asks for the version. Without an answer nothing else can be checked.
func (e *examination) apiServer(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(e.host, "/")+"/version", nil)
	if err != nil {
		return err
	}
	answer, err := e.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // all of it was read
	now := e.access.Clock.Now()
	var info apiversion.Info
	if answer.StatusCode != http.StatusOK {
		e.add(Warn, "API server", fmt.Sprintf("its version is not told: it answers %s", answer.Status))
	} else if err := json.NewDecoder(answer.Body).Decode(&info); err != nil {
		return fmt.Errorf("%s answers with no version, is it an API server? %w", e.host, err)
	} else {
		e.add(OK, "API server", info.GitVersion+" at "+e.host)
	}
	e.clock(answer.Header.Get("Date"), now)
	return nil
}

func (e *examination) clock(date string, now time.Time) {
	server, err := http.ParseTime(date)
	if err != nil {
		e.add(Warn, "clock", "the API server does not tell the time")
		return
	}
	skew := now.Sub(server).Round(time.Second)
	switch {
	case skew > maxSkew:
		e.add(Warn, "clock", fmt.Sprintf("this machine is %s ahead of the API server: synchronize one of them. Tokens for hubs go by the manager's clock", skew))
	case skew < -maxSkew:
		e.add(Warn, "clock", fmt.Sprintf("this machine is %s behind the API server: synchronize one of them. Tokens for hubs go by the manager's clock", -skew))
	default:
		e.add(OK, "clock", "this machine and the API server agree")
	}
}

// definitions compares the custom resource definitions with those that this program was built with.
func (e *examination) definitions(ctx context.Context) {
	for _, plural := range []string{"devicetwins", "devicetwinsets", "hubconnections", "twinqueries", "twinrequests"} {
		name := plural + "." + v1alpha1.SchemeGroupVersion.Group
		var held apiextensionsv1.CustomResourceDefinition
		err := e.client.Get(ctx, client.ObjectKey{Name: name}, &held)
		switch {
		case apierrors.IsNotFound(err):
			e.facts.unserved = true
			e.add(Fail, "CRD "+plural, "is not there: install the custom resource definitions, crds.yaml of the release")
		case apierrors.IsForbidden(err):
			e.add(Warn, "CRD "+plural, "not checked: you may not get customresourcedefinitions")
		case err != nil:
			e.add(Fail, "CRD "+plural, cluster.Explained(err).Error())
		default:
			status, text := definitionState(&held, plural)
			e.add(status, "CRD "+plural, text)
		}
	}
}

func definitionState(held *apiextensionsv1.CustomResourceDefinition, plural string) (Status, string) {
	for _, c := range held.Status.Conditions {
		if c.Type == apiextensionsv1.Established && c.Status != apiextensionsv1.ConditionTrue {
			return Fail, "is not served: " + c.Message
		}
	}
	text, err := crd.Bases().ReadFile("bases/" + v1alpha1.SchemeGroupVersion.Group + "_" + plural + ".yaml")
	if err != nil {
		return Fail, err.Error()
	}
	var ours apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &ours); err != nil {
		return Fail, err.Error()
	}
	want := ours.Spec.Versions[0]
	for _, version := range held.Spec.Versions {
		switch {
		case version.Name != want.Name:
			continue
		case !version.Served:
			return Fail, want.Name + " is not served: apply the definitions of the manager's release"
		case !equality.Semantic.DeepEqual(version.Schema, want.Schema):
			return Warn, "serves " + want.Name + " of another release than this program's: apply the definitions of the manager's release, and use its kubectl-twin"
		}
		return OK, "serves " + want.Name + ", as this program knows it"
	}
	return Fail, "does not serve " + want.Name + ": apply the definitions of the manager's release"
}
