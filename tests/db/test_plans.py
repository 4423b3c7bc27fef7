"""No statement in our functions and triggers scans a growing table, or an index of one, from end to end: rows are found by a key, whatever
the statistics were at planning time (docs/decisions/0052). Checks the plans that auto_explain reports for the statements inside the cases
of many_rows.py.

A full scan is fast in any test with few rows, and a session keeps that plan when the table has grown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import psycopg
import pytest
from many_rows import Case
from many_rows_bench import Bench, make_template
from many_rows_full import groups
from support import embedded_server, make_migrated

from ourvidz.db.cluster import Binaries, find_binaries

# Tables of a few rows: settings, lists of names, and one row for each machine, receiver or migration.
SMALL = {
    "policy", "executors", "receivers", "job_types", "plan_words", "plans", "limits", "identities", "wire_names", "sharing",
    "set_aside_rules", "row_bounds", "older_types", "erasure_rules", "enhancers", "column_kinds", "transitions", "event_types", "buckets",
    "report_rules", "refusals",
}  # fmt: skip
# Part of a statement → why a full scan is acceptable.
MAY = {
    "select run_at from public.jobs where not ready order by run_at limit 1": "the first of an order",
    "select * from ourvidz.stops order by user_id limit": "the first of an order",
    "delete from ourvidz.blocked_hashes where source = p_source": "a list is dropped by hand, now and then",
    "select (settings->>'images')::bigint from public.job_payloads where job_id = p_job": "called by a report, outside our functions",
    "from public.jobs where executor_id = any (v_gone)": "jobs that executors hold, by the index of these alone",
    "select id from public.jobs where executor_id = e.id limit 1": "the same index, for each executor",
}
# With row costs near zero, scanning a table of one page, or its index, seems as cheap as one lookup by key.
EXPLAIN = """load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
set auto_explain.log_format = 'json'; set auto_explain.log_level = 'notice'; set statement_timeout = '60s';
set cpu_tuple_cost = 1e-6; set cpu_index_tuple_cost = 1e-6; set cpu_operator_cost = 1e-6"""
TOGETHER = groups()


def explaining() -> Binaries:
    """A Postgres on this machine that has auto_explain: Debian's packages do, the one from pip does not."""
    for binaries in find_binaries():
        if (binaries.folder.parent / "lib" / "auto_explain.so").exists():
            return binaries
    pytest.skip("no Postgres here has auto_explain (Debian's packages have: apt install postgresql)")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Bench]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PG_BIN", str(explaining().folder))
        with embedded_server(tmp_path_factory.mktemp) as server:
            template = make_template(server, make_migrated(server))
            yield lambda: Bench(server, template)


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Table and index (or kind of scan) of each full scan in a plan."""
    kind, table = plan["Node Type"], plan.get("Relation Name", "")
    if kind == "Seq Scan" or (kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan") and "Index Cond" not in plan):
        yield table, plan.get("Index Name", kind)
    for part in plan.get("Plans", ()):
        yield from scans(part)


def nested(bench: Bench, cases: Sequence[Case], growing: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Case, statement and plan of the statements inside the cases: planned for one row and kept for many; and planned after a vacuum,
    when tables that a case fills itself have no pages. Statements of foreign keys are Postgres's own and left out."""
    told = list[str]()

    def explaining() -> psycopg.Connection:
        session = bench.connect(EXPLAIN)
        session.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        return session

    kept = explaining()
    for n, vacuumed, case in [*product((1, 50), (False,), cases), *product((50,), (True,), cases)]:
        bench.make(case, n)
        if vacuumed:
            filled = bench.filler.execute(
                "select name from unnest(%s::text[]) as name where pg_relation_size(name::regclass) > 0", (growing,)
            )
            bench.filler.execute("vacuum (analyze) " + ", ".join(name for (name,) in filled))
        told.clear()
        bench.run(case, n, session=explaining() if vacuumed else kept)
        asked = flat(case.sql.replace("$N", str(n)))
        for text in told:
            if "plan:" in text:
                found = json.loads(text[text.index("{") :])
                if (said := flat(found["Query Text"])) != asked and "OPERATOR(pg_catalog" not in said:
                    yield case.name, said, found["Plan"]


def flat(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


@pytest.mark.parametrize("cases", TOGETHER, ids=lambda cases: cases[0].name)
def test_no_statement_scans_a_growing_table(new: Callable[[], Bench], cases: Sequence[Case]) -> None:
    bench = new()
    tables = bench.session.execute(
        """select relnamespace::regnamespace::text, relname from pg_class where relkind = 'r' and relnamespace in (
           'public'::regnamespace, 'ourvidz'::regnamespace, 'auth'::regnamespace)"""
    )
    growing = {f"{schema}.{name}" for schema, name in tables if name not in SMALL}
    indexes = bench.session.execute(
        "select i.relname, t.relname from pg_index join pg_class as i on i.oid = indexrelid join pg_class as t on t.oid = indrelid"
    )
    of_index: dict[str, str] = dict(indexes.fetchall())
    names = {name.partition(".")[2] for name in growing}
    wrong, plans = set(), 0
    for case, said, plan in nested(bench, cases, sorted(growing)):
        plans += 1
        for table, by in scans(plan):
            if (table or of_index.get(by, "")) in names and not any(part in said for part in MAY):
                wrong.add(f"{case}: {table or of_index[by]} by {by}, in: {said[:200]}")
    bench.close()
    assert plans, "auto_explain logged no plans"
    assert not wrong, "\n".join(sorted(wrong))


def test_no_function_finds_the_newest_row_by_walking_the_id_index(new: Callable[[], Bench]) -> None:
    """`order by id limit 1` together with a key: after a failed batch of 100,000 and a vacuum, the planner walks the index of ids. The
    plan does not change at any size a test can afford (found by `make rows`), so this test searches the sources."""
    bench = new()
    parts = bench.session.execute("select proname, prosrc from pg_proc where pronamespace = 'ourvidz'::regnamespace").fetchall()
    newest = re.compile(r"from ourvidz\.\w+( as \w+)? where [^;()]*\border by (\w+\.)?id( desc)? limit 1")
    found = {name for name, source in parts if newest.search(flat(source))}
    assert found == {"erase_finish"}, "which runs once for each row of its table"
    bench.close()


def test_listed_tables_and_exceptions_exist(new: Callable[[], Bench]) -> None:
    bench = new()
    parts = bench.session.execute("select prosrc from pg_proc where pronamespace = 'ourvidz'::regnamespace").fetchall()
    source = flat(" ".join(text for (text,) in parts))
    assert [part for part in MAY if part not in source] == []
    gone = bench.session.execute(
        "select name from unnest(%s::text[]) as name where to_regclass('ourvidz.' || name) is null", (sorted(SMALL),)
    )
    assert gone.fetchall() == []
    bench.close()
