// Package inspect has the commands that show: get compares twins leaf by leaf, status sums up a hub.
package inspect
