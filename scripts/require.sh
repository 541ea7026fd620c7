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

# as_root runs apt-get as root, or says in one sentence what is missing.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 1
  fi
}

# apt_install PACKAGE installs a Debian package without recommendations.
apt_install() {
  echo "installing $1 …" >&2
  command -v apt-get >/dev/null 2>&1 || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >/dev/null 2>&1 ||
    { as_root apt-get update >/dev/null 2>&1 && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >/dev/null 2>&1; }
}

# The tests and the demonstration start servers of their own; only the programs
# are needed.
has_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null 2>&1 || [ -x "${ASSENT_POSTGRES_BIN:-/nowhere}/initdb" ]
}
require_postgres() {
  has_postgres || apt_install postgresql || true
  has_postgres || { echo "$0: PostgreSQL is missing: install it with 'sudo apt-get install postgresql'" >&2; exit 1; }
}

# has_mariadb is a wish: MySQL is served by configuration, and tested where the
# server's programs are to be had.
has_mariadb() {
  PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mariadbd >/dev/null 2>&1
}

# The tests of pages need a browser.
has_chromium() {
  command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1
}
require_chromium() {
  has_chromium || apt_install chromium || true
  has_chromium || { echo "$0: Chromium is missing: install it with 'sudo apt-get install chromium'" >&2; exit 1; }
}
