#!/bin/sh
# Wait for the database, bring it to this program's schema where that is asked for, fetch models where that is asked for, then run this
# machine. Arguments go to `ourvidz up`.
#
#   DATABASE_URL          the executors' login; unset: an embedded database, for this machine alone
#   OURVIDZ_WAIT          seconds to wait for it; unset: until it answers, however long that takes
#   OURVIDZ_MIGRATE_URL   a login that may change the schema; set: migrate first. Executors never see it
#   OURVIDZ_PULL          roles to fetch before starting, such as "ip_adapter wan vace qwen"; those that are there cost seconds
set -eu

say() { printf 'start: %s\n' "$*" >&2; }

answers() { # 0: the database at $1 does (with $2, writes: takes them); 2: it never will, and it was said why; anything else: not yet
    DATABASE_URL=$1 timeout 15 python3 -m ourvidz.db.wait_ready ${2:-}
}

wait_for() {
    left=${OURVIDZ_WAIT:-} said=
    until answers "$@"; do
        [ $? -ne 2 ] || exit 1
        [ -n "$said" ] || say "the database does not ${2:+take }${2:-answer}; waiting for it"
        said=1
        if [ -n "$left" ]; then
            if [ "$left" -le 0 ]; then
                say "the database does not ${2:+take }${2:-answer} after $OURVIDZ_WAIT s. Look at DATABASE_URL, and the network."
                exit 1
            fi
            left=$((left - 2))
        fi
        sleep 2
    done
}

if [ -n "${DATABASE_URL:-}" ]; then
    wait_for "$DATABASE_URL"
fi
if [ -n "${OURVIDZ_MIGRATE_URL:-}" ]; then
    wait_for "$OURVIDZ_MIGRATE_URL" writes
    say "bringing the database to this program's schema"
    DATABASE_URL=$OURVIDZ_MIGRATE_URL ourvidz migrate
    unset OURVIDZ_MIGRATE_URL
fi
if [ -n "${OURVIDZ_PULL:-}" ]; then
    say "models: $OURVIDZ_PULL"
    # shellcheck disable=SC2086  # several roles, by spaces
    ourvidz models pull --locked $OURVIDZ_PULL
    ourvidz models convert
fi
exec ourvidz up "$@"
