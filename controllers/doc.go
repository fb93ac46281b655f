// Package controllers holds one reconciler per kind. Each fetches its object,
// resolves the hub, plans, acts, and reports once: a typed outcome turns into
// conditions, events and the next visit in one place.
package controllers
