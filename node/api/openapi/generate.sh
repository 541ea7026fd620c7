#!/bin/sh
# The OpenAPI half of ../generate.sh, which puts protoc-gen-connect-openapi
# v0.25.0 into PATH. With an argument it writes there instead of here.
set -eu
cd "$(dirname "$0")"
to=${1:-.}
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
(cd .. && protoc -I . --connect-openapi_out="$raw" \
	--connect-openapi_opt=format=yaml,path=raw.yaml,short-service-tags,short-operation-ids,with-streaming \
	assent/v1/*.proto)
[ "$to" = . ] || cp base.yaml examples.json "$to"
go run ./assemble -raw "$raw/raw.yaml" -dir "$to"
