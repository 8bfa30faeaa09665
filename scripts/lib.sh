# shellcheck shell=bash
# What the scripts share; sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# A server of the person's own must not be reached by mistake, and nothing may depend on a home folder.
# PGPASSFILE stays, as it leads to no server, and passwords have no better place.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGDATA PGSERVICE PGOPTIONS PGPASSWORD

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# The version that this checkout builds.
version() { sed -n "s/^default_version = '\(.*\)'/\1/p" "$root/hypercube.control"; }

# PL/Python's interpreter, which is seldom the first python3 on the path.
# shellcheck disable=SC2034  # for the scripts that source this
python=${PYTHON:-/usr/bin/python3}

# PostgreSQL refuses to run as root; root hands its servers to the user that the packages made.
server_user() {
    if [[ $(id -u) == 0 ]]; then printf 'postgres\n'; else id -un; fi
}

# Runs a command as that user and becomes it (exec all the way), so that a process id stays true.
as_server_user() {
    if [[ $(id -u) == 0 ]]; then
        env --chdir=/ HOME=/ setpriv --reuid=postgres --regid=postgres --init-groups "$@"
    else
        "$@"
    fi
}

# True if the server of this pg_config is one that hypercube runs in.
has_plpython() {
    local version
    version=$("$1" --version 2> /dev/null) && version=${version#PostgreSQL } && ((${version%%[!0-9]*} >= 15)) &&
        [[ -x $("$1" --bindir)/postgres && -e $("$1" --pkglibdir)/plpython3.so ]]
}

# Prints the pg_config to use: the one asked for, else that of the newest server with PL/Python.
find_pg_config() {
    if [[ -n ${PG_CONFIG:-} ]]; then
        has_plpython "$PG_CONFIG" || die "$PG_CONFIG is not of PostgreSQL 15 or newer with a server and PL/Python"
        printf '%s\n' "$PG_CONFIG"
        return
    fi
    local candidate
    for candidate in $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -rV) "$(type -P pg_config)"; do
        if [[ -x $candidate ]] && has_plpython "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# Prints the folder of the server's programs.
pg_bin() {
    local pg_config
    pg_config=$(find_pg_config) || die "no PostgreSQL with PL/Python found; run scripts/setup"
    "$pg_config" --bindir
}

# Makes .local, where a checkout keeps what is not in git, and sets `state` to where it really is. The
# server's user must be able to enter it: where it cannot (a checkout in root's home), .local becomes a link
# to a folder where it can.
state_dir() {
    local link=$root/.local
    if [[ -L $link && ! -O $link/. ]]; then
        rm "$link"
    fi
    if [[ ! -e $link ]]; then
        mkdir -m 755 "$link"
        if ! enterable_by_all "$link"; then
            rmdir "$link"
            state=$(mktemp -d /var/lib/hypercube.XXXXXXXX)
            chmod 755 "$state"
            ln -s "$state" "$link"
        fi
    fi
    state=$(readlink -f "$link")
    enterable_by_all "$state" || die "the server's user cannot enter $state; remove it and run this again"
}

enterable_by_all() {
    [[ $(id -u) != 0 ]] || setpriv --reuid=nobody --regid=nogroup --clear-groups test -x "$1/."
}
