// Package controllers holds one reconciler per kind. Each fetches its object, resolves the
// hub, plans, acts, and reports once; what it does that with are the packages of internal.
package controllers
