// Package lint holds manifests against the rules of the API server and of admission, without a cluster: the schemas and CEL
// rules of the custom resource definitions, and internal/validation.
package lint
