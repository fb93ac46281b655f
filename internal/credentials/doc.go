// Package credentials follows the Secrets that HubConnections name, and signs in as the
// ServiceAccounts that they name.
//
// It keeps no credential, and no Secret beyond its version.
package credentials
