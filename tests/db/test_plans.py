"""No statement of ours reads a table that grows, or an index of it, from end to end: whatever statistics said when it was planned, it looks
rows up by a key (docs/decisions/0052). Plans are those of the statements of many_rows.py, nested ones too, as auto_explain tells them.

A plan that reads through is quick in every test that has few rows, and is kept by a session when the table has many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest
from many_rows import CASES
from many_rows_bench import Bench, make_template
from support import embedded_server, make_migrated

from ourvidz.db.cluster import Binaries, find_binaries

# Tables of a few rows: figures and words, and what there is of machines and those who are called.
SMALL = {
    "policy", "executors", "receivers", "job_types", "plan_words", "plans", "limits", "identities", "wire_names", "suspensions", "sharing",
    "set_aside_rules", "row_bounds", "older_types", "erasure_rules", "enhancers", "column_kinds", "transitions", "event_types", "buckets",
    "report_rules", "refusals",
}  # fmt: skip
# A part of the statement → why it may read through.
MAY = {
    "select run_at from public.jobs where not ready order by run_at limit 1": "the first of an order",
    "select * from ourvidz.stops order by user_id limit": "the first of an order",
    "delete from ourvidz.blocked_hashes where source = p_source": "a list is dropped by hand, now and then",
}
EXPLAIN = """load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
set auto_explain.log_format = 'json'; set auto_explain.log_level = 'notice'; set statement_timeout = '60s'"""


def explaining() -> Binaries:
    """A Postgres of this machine that has auto_explain: Debian's have, the one that pip installs has not."""
    for binaries in find_binaries():
        if (binaries.folder.parent / "lib" / "auto_explain.so").exists():
            return binaries
    pytest.skip("no Postgres here has auto_explain (Debian's packages have: apt install postgresql)")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PG_BIN", str(explaining().folder))
        with embedded_server(tmp_path_factory.mktemp) as server:
            bench = Bench(server, make_template(server, make_migrated(server)))
            yield bench
            bench.close()


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Table and index, or kind of scan, of each part of a plan that reads through."""
    kind, table = plan["Node Type"], plan.get("Relation Name", "")
    if kind == "Seq Scan" or (kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan") and "Index Cond" not in plan):
        yield table, plan.get("Index Name", kind)
    for part in plan.get("Plans", ()):
        yield from scans(part)


def nested(session: psycopg.Connection, bench: Bench) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Case, statement and plan of what the cases have run inside. A foreign key's own statements are Postgres's."""
    told: list[str] = []
    session.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    for case, n in product(CASES, (1, 50)):
        bench.make(case, n)
        told.clear()
        bench.run(case, n, session=session)
        asked = flat(case.sql.replace("$N", str(n)))
        for text in told:
            if "plan:" in text:
                found = json.loads(text[text.index("{") :])
                if (said := flat(found["Query Text"])) != asked and "OPERATOR(pg_catalog" not in said:
                    yield case.name, said, found["Plan"]


def flat(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


def test_no_statement_reads_a_growing_table_through(bench: Bench) -> None:
    session = bench.connect(EXPLAIN)
    tables = {
        name
        for (name,) in session.execute("""select relname from pg_class where relkind = 'r' and relnamespace in (
            'public'::regnamespace, 'ourvidz'::regnamespace, 'auth'::regnamespace)""")
    }
    indexes = session.execute(
        "select i.relname, t.relname from pg_index join pg_class as i on i.oid = indexrelid join pg_class as t on t.oid = indrelid"
    )
    of_index: dict[str, str] = dict(indexes.fetchall())
    wrong, plans = set(), 0
    for case, said, plan in nested(session, bench):
        plans += 1
        for table, by in scans(plan):
            grows = (table or of_index.get(by, "")) in tables - SMALL
            if grows and not any(part in said for part in MAY):
                wrong.add(f"{case}: {table or of_index[by]} by {by}, in: {said[:200]}")
    assert plans > 1000, f"auto_explain logged {plans} plans only"
    assert sorted(wrong) == []


def test_what_is_named_here_is_there(bench: Bench) -> None:
    parts = bench.session.execute("select prosrc from pg_proc where pronamespace = 'ourvidz'::regnamespace").fetchall()
    source = flat(" ".join(text for (text,) in parts))
    assert [part for part in MAY if part not in source] == []
    gone = bench.session.execute(
        "select name from unnest(%s::text[]) as name where to_regclass('ourvidz.' || name) is null", (sorted(SMALL),)
    )
    assert gone.fetchall() == []
