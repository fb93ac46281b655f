// Package inspect has the commands that show: get compares twins leaf by leaf, status sums up a hub, rollout follows a set.
package inspect
