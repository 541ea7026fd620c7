// Package openapi is the description of the API for programs that speak plain
// HTTP and JSON: an OpenAPI 3.1 document, generated from the .proto files of
// node/api and committed.
//
// It promises that every method, message and field of the services is in it, and
// that its examples are calls that a running network has answered
// (scripts/operations makes them again). It leaves serving to the gateway.
package openapi

import _ "embed"

// YAML is the description as YAML.
//
//go:embed openapi.yaml
var YAML []byte

// JSON is the same as JSON.
//
//go:embed openapi.json
var JSON []byte

// Paths at which a node serves them.
const (
	YAMLPath = "/openapi.yaml"
	JSONPath = "/openapi.json"
)
