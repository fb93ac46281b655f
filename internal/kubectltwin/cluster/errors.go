package cluster

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/tools/clientcmd"
)

// The exit codes of every command.
const (
	// ExitFound says that a command did what it was asked for, and that something is wrong: findings, objects that failed.
	ExitFound = 1
	// ExitError says that it could not: bad usage, no such object, no rights, no connection.
	ExitError = 2
)

// ErrFound ends a command whose output has said already what is wrong.
var ErrFound = errors.New("something is wrong, as printed")

// ExitCode is the exit code that an error stands for.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrFound):
		return ExitFound
	}
	return ExitError
}

// Explained puts an error into one line that says what to do, where that is not plain.
func Explained(err error) error {
	switch {
	case err == nil:
		return nil
	case clientcmd.IsEmptyConfig(err):
		return errors.New("no cluster is configured: name one with --kubeconfig, --context or --server")
	case utilnet.IsConnectionRefused(err):
		return fmt.Errorf("the API server does not answer (%s): is it the cluster you mean? See --kubeconfig and --context", oneLine(err))
	case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		// That is no answer about an object: the path is served by none.
		return &plain{text: "the cluster does not know these objects: install the custom resource definitions, as docs/install.md says (" + oneLine(err) + ")", err: err}
	}
	return &plain{text: oneLine(err), err: err}
}

// plain is an error in one line.
type plain struct {
	text string
	err  error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.err }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
