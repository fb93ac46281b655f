package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/rest"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

const (
	hubNamespace = "iot-hub"
	hubRelease   = "hub"
	hubPod       = "deployment/hub-emulator"
	hubSecret    = "hub-emulator-hub" //nolint:gosec // a name
	hubHost      = "hub-emulator.iot-hub.svc"
	// adminPort is hubemulator's default. It listens on loopback: within the Pod.
	adminPort  = 8444
	apiVersion = "2021-04-12"
)

// hub is the emulated hub that runs in the cluster, as a service application sees it and as its
// admin listener does.
type hub struct {
	*cluster
	credentials sas.Credentials
	http        *http.Client
}

// installHub makes a release of its own of the chart, without a manager, so that the hub outlives the operator's.
func (c *cluster) installHub(ctx context.Context, chart, tag, devices string) error {
	if err := c.restrict(ctx, hubNamespace); err != nil {
		return err
	}
	_, err := c.tool(ctx, "helm", "install", hubRelease, chart, "-n", hubNamespace, "--wait", "--timeout", stepTimeout.String(),
		"--set", "fullnameOverride="+hubRelease, "--set", "image.tag="+tag, "--set", "emulator.enabled=true", "--set-json", "emulator.devices="+devices,
		"--set", "replicaCount=0", "--set", "crds.enabled=false", "--set", "webhook.enabled=false", "--set", "metrics.enabled=false",
		"--set", "podDisruptionBudget.enabled=false", "--set", "rbac.create=false", "--set", "rbac.aggregate=false", "--set", "rbac.restrictSecrets=false",
		"--set", "approval.restrict=false")
	return err
}

// newHub connects to it through its Service, whose name only the cluster's own DNS knows.
func newHub(ctx context.Context, c *cluster) (*hub, error) {
	var secret corev1.Secret
	if err := c.Get(ctx, types.NamespacedName{Namespace: hubNamespace, Name: hubSecret}, &secret); err != nil {
		return nil, err
	}
	credentials, err := sas.Parse(string(secret.Data["connectionString"]))
	if err != nil {
		return nil, err
	}
	var service corev1.Service
	if err := c.Get(ctx, types.NamespacedName{Namespace: hubNamespace, Name: "hub-emulator"}, &service); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(credentials.Host)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		return nil, errors.New("the hub's Secret holds no certificate")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, net.JoinHostPort(service.Spec.ClusterIP, port))
		},
	}
	return &hub{c, credentials, &http.Client{Transport: transport, Timeout: 15 * time.Second}}, nil
}

// revision is what a device's twin on the hub has for desired.revision.
func (h *hub) revision(ctx context.Context, device string) (int, error) {
	request, err := rest.NewRequest(ctx, http.MethodGet, "https://"+h.credentials.Host+"/twins/"+device+"?api-version="+apiVersion, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", h.credentials.Token(time.Now().Add(time.Hour)))
	var twin struct {
		Properties struct {
			Desired struct {
				Revision int `json:"revision"`
			} `json:"desired"`
		} `json:"properties"`
	}
	err = rest.Exchange(h.http, request, &twin)
	return twin.Properties.Desired.Revision, err
}

// patches is how many updates of a twin the hub has applied since it started, and how many it refused.
func (h *hub) patches(ctx context.Context) (applied, refused int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	forward := exec.CommandContext(ctx, "kubectl", "port-forward", "-n", hubNamespace, hubPod, fmt.Sprintf(":%d", adminPort))
	out, err := forward.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := forward.Start(); err != nil {
		return 0, 0, err
	}
	defer func() { cancel(); _ = forward.Wait() }() // it was killed
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, 0, fmt.Errorf("kubectl port-forward: %w", err)
	}
	local := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	request, err := rest.NewRequest(ctx, http.MethodGet, "http://"+local+"/emulator/counters", nil)
	if err != nil {
		return 0, 0, err
	}
	var counters struct {
		Operations map[string]struct {
			Statuses map[string]int `json:"statuses"`
		} `json:"operations"`
	}
	if err := rest.Exchange(http.DefaultClient, request, &counters); err != nil {
		return 0, 0, err
	}
	for status, n := range counters.Operations["updateTwin"].Statuses {
		if status == "200" {
			applied += n
		} else {
			refused += n
		}
	}
	return applied, refused, nil
}

// names is a list of device ids in JSON.
func names(n int) (string, error) {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = twinName(i)
	}
	text, err := json.Marshal(ids)
	return string(text), err
}

func twinName(i int) string { return fmt.Sprintf("device-%d", i) }
