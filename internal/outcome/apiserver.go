package outcome

import (
	"context"
	"errors"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// APIServer remembers whether the last write to the API server was answered. While
// nothing can be recorded, hubs are not read for it over and over: a reconcile first proves
// that it could report what it finds.
type APIServer struct{ away atomic.Bool }

// Answered notes how a write went, and returns its error.
func (a *APIServer) Answered(err error) error {
	switch {
	case err == nil:
		a.away.Store(false)
	case errors.Is(err, context.Canceled): // by ourselves
	default:
		a.away.Store(!refusedByAPIServer(err))
	}
	return err
}

// Away tells whether the API server did not answer the last write.
func (a *APIServer) Away() bool { return a.away.Load() }

// refusedByAPIServer tells whether an error is an answer to what was asked, rather than
// of an API server, or of the etcd behind it, that cannot take any write now.
func refusedByAPIServer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !apierrors.IsInternalError(err) && !apierrors.IsServerTimeout(err) &&
		!apierrors.IsTimeout(err) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsTooManyRequests(err)
}
