// Package invoke calls direct methods of devices: at the hub itself, as its user, with the credential in the HubConnection's
// Secret. It is the one command of kubectl-twin that talks to a hub, through internal/hub.
package invoke
