// Package twinstatus shows a twin, what is planned for it, and what was written, as a DeviceTwin's status does.
//
// It is pure: it does no I/O and keeps nothing.
package twinstatus
