// Package controlplane starts a Kubernetes API server with its store, as processes,
// and installs the operator there but for its manager: for the programs under hack.
package controlplane

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

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// AuditLogName is the file of the API server's audit log, in the folder for logs.
const AuditLogName = "audit.log"

// auditPolicy records who wrote what, and none of the contents.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// Options say what to start, and where.
type Options struct {
	// Assets holds etcd, kube-apiserver and kubectl.
	Assets string
	// Dir is for data and keys, Logs for logs, which hold no credential.
	Dir, Logs string
	// EtcdArgs and APIServerArgs are flags besides the usual ones.
	EtcdArgs, APIServerArgs []string
}

// Cluster is an API server with its store. Nothing schedules or runs pods.
type Cluster struct {
	// CA signed the API server's certificate.
	CA *Authority
	// Server is the API server's address.
	Server string
	// Kubeconfig names the administrator's.
	Kubeconfig string
	// AuditLog names the file in which every write is, once it was answered.
	AuditLog string

	opts Options
}

// Start starts etcd, which does not wait for the disk, and the API server,
// and writes an administrator's kubeconfig.
func Start(ctx context.Context, sup *process.Supervisor, opts Options) (*Cluster, error) {
	c := &Cluster{opts: opts, AuditLog: filepath.Join(opts.Logs, AuditLogName), Kubeconfig: filepath.Join(opts.Dir, "kubeconfig")}
	var err error
	if c.CA, err = newAuthority(filepath.Join(opts.Dir, "pki")); err != nil {
		return nil, fmt.Errorf("make the control plane's certificates: %w", err)
	}
	store, err := c.startEtcd(ctx, sup)
	if err != nil {
		return nil, err
	}
	if err := c.startAPIServer(ctx, sup, store); err != nil {
		return nil, err
	}
	admin, err := c.CA.client("local-admin", "system:masters")
	if err != nil {
		return nil, err
	}
	return c, c.writeKubeconfig(c.Kubeconfig, map[string]any{"client-certificate": admin.cert, "client-key": admin.key})
}

// StoreSize is how many bytes etcd's database takes on the disk.
func (c *Cluster) StoreSize() (int64, error) {
	found, err := os.Stat(filepath.Join(c.etcdDir(), "member", "snap", "db"))
	if err != nil {
		return 0, fmt.Errorf("the size of etcd's database: %w", err)
	}
	return found.Size(), nil
}

func (c *Cluster) etcdDir() string { return filepath.Join(c.opts.Dir, "etcd") }

// startEtcd returns the address to store in. Certificates of our own
// keep another run's etcd from being taken for ours.
func (c *Cluster) startEtcd(ctx context.Context, sup *process.Supervisor) (string, error) {
	pair, err := c.CA.server("etcd")
	if err != nil {
		return "", err
	}
	client, err := c.CA.httpsClient(pair)
	if err != nil {
		return "", err
	}
	url := func(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }
	start := func(ports []int) (*process.Process, error) {
		if err := os.RemoveAll(c.etcdDir()); err != nil {
			return nil, err
		}
		return sup.Start("etcd", filepath.Join(c.opts.Assets, "etcd"), append([]string{
			"--name=local", "--data-dir=" + c.etcdDir(), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=" + url(ports[0]), "--advertise-client-urls=" + url(ports[0]),
			"--listen-peer-urls=" + url(ports[1]), "--initial-advertise-peer-urls=" + url(ports[1]),
			"--initial-cluster=local=" + url(ports[1]),
			"--client-cert-auth", "--trusted-ca-file=" + c.CA.CertFile(),
			"--cert-file=" + pair.cert, "--key-file=" + pair.key,
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + c.CA.CertFile(),
			"--peer-cert-file=" + pair.cert, "--peer-key-file=" + pair.key,
		}, c.opts.EtcdArgs...)...)
	}
	serving := func(ctx context.Context, ports []int) error { return Healthy(ctx, client, url(ports[0])+"/health") }
	_, ports, err := sup.StartOnFreePorts(ctx, 2, start, serving)
	if err != nil {
		return "", err
	}
	return url(ports[0]), nil
}

func (c *Cluster) startAPIServer(ctx context.Context, sup *process.Supervisor, store string) error {
	pair, err := c.CA.server("kube-apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	storeClient, err := c.CA.client("kube-apiserver-etcd-client")
	if err != nil {
		return err
	}
	_, tokens, err := c.CA.newKey("service-accounts")
	if err != nil {
		return err
	}
	policy := filepath.Join(c.opts.Dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	client, err := c.CA.httpsClient(keyPair{})
	if err != nil {
		return err
	}
	url := func(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }
	start := func(ports []int) (*process.Process, error) {
		return sup.Start("kube-apiserver", filepath.Join(c.opts.Assets, "kube-apiserver"), append([]string{
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
			fmt.Sprintf("--secure-port=%d", ports[0]),
			"--tls-cert-file=" + pair.cert, "--tls-private-key-file=" + pair.key,
			"--client-ca-file=" + c.CA.CertFile(),
			"--etcd-servers=" + store, "--etcd-cafile=" + c.CA.CertFile(),
			"--etcd-certfile=" + storeClient.cert, "--etcd-keyfile=" + storeClient.key,
			"--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + tokens.key, "--service-account-signing-key-file=" + tokens.key,
			"--audit-policy-file=" + policy, "--audit-log-path=" + c.AuditLog,
			// Blocking: a write that was answered is in the log. Who reads it follows one
			// file, which is started anew after 100 MB, some 50,000 objects, unless told.
			"--audit-log-mode=blocking", "--audit-log-format=json", "--audit-log-maxsize=1000000",
		}, c.opts.APIServerArgs...)...)
	}
	serving := func(ctx context.Context, ports []int) error { return Healthy(ctx, client, url(ports[0])+"/readyz") }
	_, ports, err := sup.StartOnFreePorts(ctx, 1, start, serving)
	if err != nil {
		return err
	}
	c.Server = url(ports[0])
	return nil
}

// httpsClient trusts the authority, and authenticates when given a pair.
func (a *Authority) httpsClient(pair keyPair) (*http.Client, error) {
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

// Healthy is nil when the address answers 200.
func Healthy(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
