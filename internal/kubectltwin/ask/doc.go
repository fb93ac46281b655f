// Package ask has the command query: it asks the hub itself which twins satisfy a condition, through the manager.
package ask
