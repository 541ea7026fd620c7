#!/bin/sh
# Regenerates the Go code under assent/v1 and the OpenAPI description under
# openapi/ from the .proto files. Building needs none of these tools; what they
# write is committed. Needs protoc (Debian: protobuf-compiler).
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$bin go install connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1
PATH=$bin:$PATH protoc -I . \
	--go_out=. --go_opt=paths=source_relative \
	--connect-go_out=. --connect-go_opt=paths=source_relative \
	assent/v1/*.proto

# In a module of its own: the generator's requirements are none of the node's.
mkdir "$bin/m"
printf 'module generator\n\ngo 1.26\n\nrequire github.com/sudorandom/protoc-gen-connect-openapi v0.25.0\n' >"$bin/m/go.mod"
(cd "$bin/m" && go build -mod=mod -o "$bin/" github.com/sudorandom/protoc-gen-connect-openapi)
PATH=$bin:$PATH openapi/generate.sh
