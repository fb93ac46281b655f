package controllers

import (
	"context"
	"errors"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// apiServer remembers whether the last write to the API server was answered. While
// nothing can be recorded, hubs are not read for it over and over: a visit first proves
// that it could tell what it finds.
type apiServer struct{ away atomic.Bool }

// answered notes how a write went, and returns its error.
func (a *apiServer) answered(err error) error {
	switch {
	case err == nil:
		a.away.Store(false)
	case errors.Is(err, context.Canceled): // by ourselves
	default:
		a.away.Store(!refusedByAPIServer(err))
	}
	return err
}

// refusedByAPIServer tells whether an error is an answer to what was asked, rather than
// of an API server, or of the etcd behind it, that cannot take any write now.
func refusedByAPIServer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !apierrors.IsInternalError(err) && !apierrors.IsServerTimeout(err) &&
		!apierrors.IsTimeout(err) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsTooManyRequests(err)
}
