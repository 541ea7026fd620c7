# Sourced by scripts/demo and scripts/test: checks that the tools are there and
# says in one sentence what is missing.
require() {
  command -v "$1" >/dev/null 2>&1 || { echo "$0: $1 is missing: $2" >&2; exit 1; }
}
require go "install Go 1.26 or newer from https://go.dev/dl"
require gcc "install it with 'sudo apt-get install gcc libc6-dev'"
require git "install it with 'sudo apt-get install git'"
case "$(go env GOVERSION)" in
  go1.2[6-9]*|go1.[3-9][0-9]*|go[2-9]*) ;;
  *) echo "$0: Go 1.26 or newer is needed, found $(go env GOVERSION): install it from https://go.dev/dl" >&2; exit 1 ;;
esac
