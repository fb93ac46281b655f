// Package twinstatus shows a twin, and what is planned for it, as a DeviceTwin's status does.
//
// It is pure: it does no I/O and keeps nothing.
package twinstatus
