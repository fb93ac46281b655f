// Package crd holds the custom resource definitions, for programs that have to know the schemas without a cluster.
package crd

import "embed"

//go:embed bases/*.yaml
var bases embed.FS

// Bases are the generated definitions, as files in the folder bases.
func Bases() embed.FS { return bases }
