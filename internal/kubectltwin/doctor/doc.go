// Package doctor looks for what keeps the operator from its work, from the user's side of the API server.
package doctor
