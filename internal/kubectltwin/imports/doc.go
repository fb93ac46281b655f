// Package imports has the command import: manifests of DeviceTwins, or of one DeviceTwinSet, that declare what twins hold already, so that
// applying them changes nothing that is declared.
package imports
