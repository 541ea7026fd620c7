#!/bin/sh
# Makes the files of others that pages load: htmx with its extension for
# server-sent events, as they are published, and noble.js, which is the parts of
# two audited libraries that sign.js needs, in one module. Needs npm; the files are
# committed, so building needs none of it. With an argument it writes there.
set -eu
cd "$(dirname "$0")"
to=$(mkdir -p "${1:-.}" && cd "${1:-.}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/entry.js" <<'JS'
export { secp256k1 } from "@noble/curves/secp256k1.js";
export { keccak_256 } from "@noble/hashes/sha3.js";
export { sha256 } from "@noble/hashes/sha2.js";
export { scryptAsync } from "@noble/hashes/scrypt.js";
export { pbkdf2Async } from "@noble/hashes/pbkdf2.js";
JS
(
	cd "$work"
	npm init -y >/dev/null
	npm install --silent --no-audit --no-fund --save-exact @noble/curves@2.4.0 @noble/hashes@2.4.0 htmx.org@2.0.11 htmx-ext-sse@2.2.4 esbuild@0.25.9
	npx esbuild entry.js --bundle --minify --format=esm --target=es2022 --legal-comments=inline --log-level=warning --outfile="$to/noble.js"
	cp node_modules/htmx.org/dist/htmx.min.js "$to/htmx.min.js"
	cp node_modules/htmx-ext-sse/dist/sse.min.js "$to/sse.min.js"
	for p in htmx.org htmx-ext-sse @noble/curves @noble/hashes; do
		echo "== $p $(node -p "require('./node_modules/$p/package.json').version") =="
		cat "node_modules/$p/LICENSE"
		echo
	done >"$to/LICENSES"
)
