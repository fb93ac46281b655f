// Package diff has the command diff: what applying manifests would write to the hub, leaf by leaf, as the manager's own planner
// tells.
package diff
