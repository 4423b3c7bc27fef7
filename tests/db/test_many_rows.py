"""Statements of many rows take time proportional to the rows (docs/decisions/0052); tests/db/many_rows.py lists them.

Two states of the statistics. *Stale*: analysed while the tables were empty, and the session planned each statement for one row. *Fresh*:
analysed after the rows were inserted. Measures CPU time of the server's process, so other work on the machine does not count.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator

import pytest
from many_rows import CASES, ONE_BY_ONE, Case
from many_rows_bench import Bench, make_template
from many_rows_full import DEARER, Run
from sizes import size
from support import Server, embedded_server, make_migrated

from bench.report import machine, save
from ourvidz.db.cluster import Binaries, find_binaries

LIMIT = 3.0  # most that the cost per row may grow from few rows to many


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
_ENTRIES = """select indexrelid::regclass::text, pg_stat_get_xact_tuples_returned(indexrelid) from pg_index
              join pg_class on pg_class.oid = indrelid where relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)"""
_CALLED = "select funcid::bigint from pg_stat_xact_user_functions"
_WRITTEN = """select relid::bigint, op from pg_stat_xact_user_tables
              cross join lateral (values (4, n_tup_ins), (16, n_tup_upd), (8, n_tup_del)) as one (op, n) where n > 0"""

# Functions that take many rows: with an array or limit argument, or finding the rows themselves.
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
def test_rows_read_per_row_stay_constant_and_all_triggers_are_covered(bench: Bench) -> None:
    """Every case at 1, 10 and 50 rows (nightly: 100), planned for one: the number of rows read for one more row stays constant, and
    below the size of tables and indexes at that point. Every trigger, and every function that takes many rows, is called by some case."""
    grown: list[str] = []
    most = size(50, 100)
    called: set[int] = set()
    fired: set[tuple[int, int, int]] = set()
    for case in CASES:
        reads: dict[int, float] = {}
        for n in (1, 10, most):
            bench.make(case, n)
            _, (read, functions, tables, entries) = bench.run(case, n, _READ, _CALLED, _WRITTEN, _ENTRIES)
            reads[n] = float(read[0][0])
            called |= {oid for (oid,) in functions}
            fired |= {(oid, table, op) for (oid,) in functions for table, op in tables}
        # For ten rows everything read counts: whether to scan a table of a few hundred rows is left to the planner.
        few, many = reads[10] / 10, (reads[most] - reads[10]) / (most - 10)
        if many > 2 * max(few, 5) or many > 40 * most:
            grown.append(f"{case.name}: a row of 10 has {few:.0f} rows read, one more of {most} {many:.0f}")
        if case.name != "ledger check":  # it covers the whole table
            grown += [f"{case.name}: {read / most:.0f} entries of {index} for each row" for index, read in entries if read > 120 * most]
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


def test_leftovers_of_a_failed_batch_are_not_read(server: Server, sizes_template: str) -> None:
    """Rolled-back rows stay in indexes until a vacuum, while the statistics claim small tables. A plan that scans a small partial index
    or all of a user's requests, or sorts all waiting jobs to find the first, would read the leftovers."""
    cases = {case.name: case for case in CASES}
    bench = Bench(server, sizes_template)
    found = []
    try:
        bench.make(cases["submit"], 5000)
        bench.run(cases["submit"], 5000)
        bench.filler.execute("analyze")
        for name in ("submit", "claim"):
            bench.make(cases[name], 1)
            _, (read,) = bench.run(cases[name], 1, _ENTRIES, session=bench.connect("reset all"))
            found += [f"{name}: {entries} entries of {index}" for index, entries in read if entries > 2500]
    finally:
        bench.close()
    assert found == []


@pytest.mark.parametrize("name", ["beside events", "cancel in one go", "jobs are due", "tokens of many", "public.characters: update"])
def test_sets_are_joined_by_hash_or_merge(bench: Bench, name: str) -> None:
    """Two transition tables or arrays are joined by hash or merge. They are not counted as rows read, so this test measures time."""
    (case,) = (case for case in CASES if case.name == name)
    few, many = (in_stale_state(bench, case, n) for n in (500, 4000))
    assert many < LIMIT * few, f"{few:.6f} s for each of 500 rows, {many:.6f} s for each of 4,000"


def test_hash_indexes_exist_only_on_paths(bench: Bench) -> None:
    """A hash index insert walks all entries of the same value. A path names one object; a SHA-256 repeats with each equal picture."""
    hashes = bench.session.execute(
        "select indexdef from pg_indexes where indexdef like '%USING hash%' and schemaname in ('public', 'ourvidz')"
    )
    columns = {definition.partition("USING hash (")[2].partition(")")[0] for (definition,) in hashes}
    assert columns == {"image_url", "thumbnail_url", "video_url", "preview_url"}


def in_stale_state(bench: Bench, case: Case, n: int) -> float:
    """Seconds per row for n rows, in a session that planned for one."""
    bench.make(case, 1)
    bench.run(case, 1)
    bench.make(case, n)
    return bench.run(case, n)[0] / n


@pytest.fixture(scope="module")
def versions() -> list[Binaries]:
    """The oldest and the newest Postgres on this machine."""
    found = {binaries.major: binaries for binaries in find_binaries()}
    return [found[major] for major in sorted({min(found), max(found)})]


@pytest.fixture(scope="module")
def rows_run(versions: list[Binaries]) -> Iterator[Run]:
    run = Run([binaries.major for binaries in versions])
    yield run
    print("\n" + run.table(), flush=True)
    if "OURVIDZ_ROWS_SAVE" in os.environ:
        results = [dataclasses.asdict(result) for major in run.versions for result in run.of(major)]
        save("rows", machine() | {"postgres": ", ".join(binaries.version for binaries in versions)}, results, [run.table()])


@pytest.mark.nightly
@pytest.mark.rows
@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("which", [0, -1], ids=["oldest postgres", "newest postgres"])
def test_cost_per_row_at_a_hundred_thousand_rows(
    rows_run: Run, versions: list[Binaries], which: int, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each case at 100,000 rows in one statement, on the oldest and the newest Postgres of this machine, with stale and with fresh
    statistics: a row costs at most twice what it costs at 1,000 rows. Prints progress and the table (many_rows_full.py)."""
    monkeypatch.setenv("PG_BIN", str(versions[which].folder))
    with embedded_server(tmp_path_factory.mktemp) as server:
        server.admin("alter system set max_wal_size = '2GB'")
        server.admin("select pg_reload_conf()")
        results = rows_run.on(server, make_template(server, make_migrated(server)), versions[which].major)
    wrong = [result for result in results if result.ratio > DEARER]
    assert wrong == []
