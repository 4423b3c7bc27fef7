"""Statements of many rows take time in proportion to them (docs/decisions/0052). tests/db/many_rows.py says which there are.

Two states of the statistics. *Stale*: analysed while the tables were empty, and the session has planned each statement for one row.
*Fresh*: analysed after the rows came. What is measured is processor time of the server's process: other work on the machine does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from many_rows import CASES, ONE_BY_ONE, Case
from many_rows_bench import Bench, make_template
from sizes import size
from support import Server, as_template

from ourvidz.db.cluster import find_binaries
from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres
from ourvidz.db.migrate import migrate

LIMIT = 3.0  # how much dearer a row may be among many than among few


@pytest.fixture(scope="module")
def sizes_template(server: Server, template: str) -> Iterator[str]:
    name = make_template(server, template)
    yield name
    server.drop(name)


@pytest.fixture(scope="module")
def bench(server: Server, sizes_template: str) -> Iterator[Bench]:
    bench = Bench(server, sizes_template)
    yield bench
    bench.close()


_READ = "select coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0) from pg_stat_xact_user_tables"
_CALLED = "select funcid::bigint from pg_stat_xact_user_functions"
_WRITTEN = """select relid::bigint, op from pg_stat_xact_user_tables
              cross join lateral (values (4, n_tup_ins), (16, n_tup_upd), (8, n_tup_del)) as one (op, n) where n > 0"""

# A function that takes many rows: an array or a limit, or it finds them itself.
_SETS = """
select p.oid::bigint, p.oid::regprocedure::text, p.proname
from pg_proc as p
where p.pronamespace = 'ourvidz'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
  and (exists (select from unnest(p.proargtypes) as a join pg_type as t on t.oid = a where t.typcategory = 'A')
       or p.provolatile = 'v' and (p.proretset or p.pronargs = 0 or p.proargnames && '{p_limit,p_messages,p_records,p_jobs}'
                                    or p.prosrc ~ '\\m(for [a-z_]+ in|foreach)\\M'))
"""
_TRIGGERS = """
select t.tgfoid::bigint, t.tgrelid::bigint, t.tgtype & 28, format('%s on %s', t.tgname, t.tgrelid::regclass)
from pg_trigger as t where not t.tgisinternal
"""


@pytest.mark.sized
def test_reading_does_not_grow_and_nothing_is_left_out(bench: Bench) -> None:
    """Every case at 1, 10 and 50 rows (nightly: 100), planned for one: what one more row makes the server read stays the same. Every
    trigger, and every function that takes many rows, is called by one of them."""
    grown: list[str] = []
    most = size(50, 100)
    called: set[int] = set()
    fired: set[tuple[int, int, int]] = set()
    for case in CASES:
        reads: dict[int, float] = {}
        for n in (1, 10, most):
            bench.make(case, n)
            _, (read, functions, tables) = bench.run(case, n, _READ, _CALLED, _WRITTEN)
            reads[n] = float(read[0][0])
            called |= {oid for (oid,) in functions}
            fired |= {(oid, table, op) for (oid,) in functions for table, op in tables}
        few, many = (reads[10] - reads[1]) / 9, (reads[most] - reads[10]) / (most - 10)
        if many > 2 * max(few, 5):
            grown.append(f"{case.name}: one more row of 10 has {few:.0f} rows read, of {most} {many:.0f}")
    assert grown == []
    sets = bench.session.execute(_SETS).fetchall()
    assert [name for oid, name, plain in sets if oid not in called and plain not in ONE_BY_ONE] == []
    triggers = bench.session.execute(_TRIGGERS).fetchall()
    alone = Counter(oid for oid, *_ in triggers)
    assert [
        name
        for oid, table, ops, name in triggers
        if not (oid in called and (alone[oid] == 1 or any((oid, table, op) in fired for op in (4, 8, 16) if op & ops)))
        and not {name, name.partition(" ")[0]} & set(ONE_BY_ONE)
    ] == []
    there = {plain for _, _, plain in sets} | {part for *_, name in triggers for part in (name, name.partition(" ")[0])}
    assert set(ONE_BY_ONE) <= there, "there is no such trigger or function any more"


@pytest.mark.parametrize("name", ["beside events", "cancel in one go", "jobs are due", "tokens of many", "public.characters: update"])
def test_sets_are_not_compared_row_by_row(bench: Bench, name: str) -> None:
    """Two transition tables, or two arrays, are joined by hashing or merging: that reads no table, so it is time that tells."""
    (case,) = (case for case in CASES if case.name == name)
    few, many = (in_stale_state(bench, case, n) for n in (500, 4000))
    assert many < LIMIT * few, f"{few:.6f} s for each of 500 rows, {many:.6f} s for each of 4,000"


def in_stale_state(bench: Bench, case: Case, n: int) -> float:
    """Seconds for each of n rows, in a session that planned for one."""
    bench.make(case, 1)
    bench.run(case, 1)
    bench.make(case, n)
    return bench.run(case, n)[0] / n


def in_fresh_state(bench: Bench, case: Case, n: int) -> float:
    bench.make(case, n)
    bench.filler.execute("analyze")
    return bench.run(case, n)[0] / n


VERSIONS = {binaries.major: binaries for binaries in find_binaries()}


@pytest.fixture(scope="module", params=sorted({min(VERSIONS), max(VERSIONS)}), ids="postgres {}".format)
def of_version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server of the oldest and of the newest version on this machine, with the template of the cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PG_BIN", str(VERSIONS[request.param].folder))
        with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as postgres:
            server = Server(postgres.superuser_url, postgres.url)
            for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '4GB'"):
                server.admin(f"alter system set {setting}")
            server.admin("select pg_reload_conf()")
            migrated = server.create(prefix="migrated")
            database = Database(server.url(migrated))
            with database.transaction() as connection:
                migrate(connection)
            as_template(database)
            database.close()
            yield server, make_template(server, migrated)


@pytest.mark.nightly
@pytest.mark.rows
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("measure", [in_stale_state, in_fresh_state], ids=["stale", "fresh"])
def test_a_hundred_thousand_rows(of_version: tuple[Server, str], measure: Any) -> None:
    """Each case at 100,000 rows in one statement: a row costs at most three times what it costs among 1,000. Prints the table."""
    wrong: list[str] = []
    for case in CASES:
        costs = {n: 0.0 for n in (1_000, 10_000, 100_000) if n <= case.most}
        for n in costs:
            bench = Bench(*of_version)
            try:
                costs[n] = measure(bench, case, n)
            except psycopg.Error as error:
                wrong.append(f"{case.name} at {n} rows: {error}")
                break
            finally:
                bench.close()
        print(f"{case.name:36}", *(f"{cost * 1e6:9.1f} µs" for cost in costs.values()), flush=True)
        if max(costs.values()) > LIMIT * costs[1_000]:
            wrong.append(f"{case.name}: " + ", ".join(f"{cost * 1e6:.0f} µs a row at {n}" for n, cost in costs.items()))
    assert wrong == []
