// Package guard counts the twins of each hub that were changed within an hour, and stops all
// changes of a hub when there are more than its HubConnection allows.
//
// It never talks to a hub; its state is in the HubConnection's status over a restart.
package guard
