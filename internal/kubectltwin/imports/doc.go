// Package imports has the command import: manifests of DeviceTwins that declare what twins hold already, so that applying them
// writes nothing.
package imports
