// Package report collects what a bug report needs into an archive, without credentials.
//
// Secrets are never read. What else may hold a credential is hidden as messages and mirrors hide it: see internal/credential.
package report
