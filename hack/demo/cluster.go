package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	// startTimeout bounds the start of one process on a busy machine.
	startTimeout = 60 * time.Second
	auditLogName = "audit.log"
)

// auditPolicy records who wrote what, and none of the contents.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// cluster is an API server with its store. Nothing schedules or runs pods.
type cluster struct {
	ca         *authority
	server     string
	kubeconfig string
	auditLog   string
}

// startCluster starts etcd and the API server and writes an administrator's
// kubeconfig.
func startCluster(ctx context.Context, sup *supervisor, assets string, dirs *directories) (*cluster, error) {
	ca, err := newAuthority(dirs.in("pki"))
	if err != nil {
		return nil, fmt.Errorf("make the control plane's certificates: %w", err)
	}
	c := &cluster{ca: ca, auditLog: filepath.Join(dirs.logs, auditLogName), kubeconfig: dirs.in("kubeconfig")}
	store, err := c.startEtcd(ctx, sup, filepath.Join(assets, "etcd"), dirs)
	if err != nil {
		return nil, err
	}
	if err := c.startAPIServer(ctx, sup, filepath.Join(assets, "kube-apiserver"), store, dirs); err != nil {
		return nil, err
	}
	admin, err := ca.client("demo-admin", "system:masters")
	if err != nil {
		return nil, err
	}
	return c, writeKubeconfig(c.kubeconfig, c.server, ca.certFile(), map[string]any{
		"client-certificate": admin.cert, "client-key": admin.key,
	})
}

// startEtcd returns the address to store in. With certificates of our own
// nobody takes another demo's etcd for ours.
func (c *cluster) startEtcd(ctx context.Context, sup *supervisor, path string, dirs *directories) (string, error) {
	pair, err := c.ca.server("etcd")
	if err != nil {
		return "", err
	}
	client, err := c.ca.httpsClient(pair)
	if err != nil {
		return "", err
	}
	url := func(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }
	start := func(ports []int) (*process, error) {
		if err := os.RemoveAll(dirs.in("etcd")); err != nil {
			return nil, err
		}
		return sup.start("etcd", path,
			"--name=demo", "--data-dir="+dirs.in("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls="+url(ports[0]), "--advertise-client-urls="+url(ports[0]),
			"--listen-peer-urls="+url(ports[1]), "--initial-advertise-peer-urls="+url(ports[1]),
			"--initial-cluster=demo="+url(ports[1]),
			"--client-cert-auth", "--trusted-ca-file="+c.ca.certFile(),
			"--cert-file="+pair.cert, "--key-file="+pair.key,
			"--peer-client-cert-auth", "--peer-trusted-ca-file="+c.ca.certFile(),
			"--peer-cert-file="+pair.cert, "--peer-key-file="+pair.key)
	}
	serving := func(ctx context.Context, ports []int) error { return healthy(ctx, client, url(ports[0])+"/health") }
	_, ports, err := sup.startOnFreePorts(ctx, 2, start, serving)
	if err != nil {
		return "", err
	}
	return url(ports[0]), nil
}

func (c *cluster) startAPIServer(ctx context.Context, sup *supervisor, path, store string, dirs *directories) error {
	pair, err := c.ca.server("kube-apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	storeClient, err := c.ca.client("kube-apiserver-etcd-client")
	if err != nil {
		return err
	}
	_, tokens, err := c.ca.newKey("service-accounts")
	if err != nil {
		return err
	}
	policy := dirs.in("audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	client, err := c.ca.httpsClient(keyPair{})
	if err != nil {
		return err
	}
	url := func(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }
	start := func(ports []int) (*process, error) {
		return sup.start("kube-apiserver", path,
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
			fmt.Sprintf("--secure-port=%d", ports[0]),
			"--tls-cert-file="+pair.cert, "--tls-private-key-file="+pair.key,
			"--client-ca-file="+c.ca.certFile(),
			"--etcd-servers="+store, "--etcd-cafile="+c.ca.certFile(),
			"--etcd-certfile="+storeClient.cert, "--etcd-keyfile="+storeClient.key,
			"--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file="+tokens.key, "--service-account-signing-key-file="+tokens.key,
			"--audit-policy-file="+policy, "--audit-log-path="+c.auditLog,
			// Blocking: a write that was answered is in the log.
			"--audit-log-mode=blocking", "--audit-log-format=json")
	}
	serving := func(ctx context.Context, ports []int) error { return healthy(ctx, client, url(ports[0])+"/readyz") }
	_, ports, err := sup.startOnFreePorts(ctx, 1, start, serving)
	if err != nil {
		return err
	}
	c.server = url(ports[0])
	return nil
}

// httpsClient trusts the authority, and authenticates when given a pair.
func (a *authority) httpsClient(pair keyPair) (*http.Client, error) {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if pair != (keyPair{}) {
		cert, err := tls.LoadX509KeyPair(pair.cert, pair.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 5 * time.Second}, nil
}

// healthy is nil when the address answers 200.
func healthy(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
