// Package hubusage reports in the status of a HubConnection what the operator makes of its hub: how many
// DeviceTwins there are, how many wait, which part of the day's messages is used, how often the hub is read
// back, and since when that is late.
//
// It never talks to a hub, and never writes a status itself: the numbers go into the one write of the
// HubConnection's reconcile.
package hubusage
