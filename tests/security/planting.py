"""Plants a marker in every place where a role can write text, according to the catalog, and finds where it can be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from api import Api
from psycopg import sql

MARK = "zanzibar"
DIGESTS = (hashlib.sha256(MARK.encode()).hexdigest(), hashlib.md5(MARK.encode()).hexdigest())
"""An unsalted digest confirms a guess of the word."""

OURS = "n.nspname in ('public', 'ourvidz')"
COLUMNS = f"""select n.nspname as schema, c.relname as relation, a.attname as name, format_type(a.atttypid, null) as type,
       has_column_privilege(%(role)s, c.oid, a.attname, 'insert') as inserts,
       has_column_privilege(%(role)s, c.oid, a.attname, 'update') as updates,
       has_column_privilege(%(role)s, c.oid, a.attname, 'select') as reads
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid
where {OURS} and c.relkind in ('r', 'p', 'v') and not c.relispartition and a.attnum > 0 and not a.attisdropped
  and (n.nspname <> 'ourvidz' or has_schema_privilege(%(role)s, n.oid, 'usage'))
order by 1, 2, a.attnum"""
FUNCTIONS = f"""select n.nspname as schema, p.proname as name, p.proargnames as names, p.pronargs as count,
       array(select format_type(t, null) from unnest(p.proargtypes) as t) as types
from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
where {OURS} and has_function_privilege(%(role)s, p.oid, 'execute') and has_schema_privilege(%(role)s, n.oid, 'usage')
  and p.prorettype <> 'trigger'::regtype
order by 1, 2"""
TEXTS = ("text", "character varying", "jsonb", "json", "text[]", "name")


def marked(type_: str) -> Any:
    """The marker as a value of the type, also as key and nested value for JSON."""
    return {"text[]": [MARK], "jsonb": json.dumps({MARK: MARK, "metadata": {"note": MARK}}), "json": json.dumps([MARK])}.get(type_, MARK)


class Planter:
    """Writes as one role. `known` holds values that make a call plausible, by name of argument or column, or by type if the name is
    unknown."""

    def __init__(self, api: Api, role: str, user: str | None, known: Mapping[str, Any], *, admin: bool = False) -> None:
        self.api, self.role, self.user, self.known, self.admin = api, role, user, known, admin
        self.becomes = role if user or role in ("anon", "service_role") else None  # otherwise the connection is that login already
        self.tried = self.taken = 0

    def everywhere(self) -> None:
        with self.api.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            asked = "ourvidz_admin" if self.admin else self.role
            columns = cursor.execute(COLUMNS, {"role": asked}).fetchall()
            functions = cursor.execute(FUNCTIONS, {"role": asked}).fetchall()
        for relation in dict.fromkeys((c["schema"], c["relation"]) for c in columns):
            self._relation(relation, [c for c in columns if (c["schema"], c["relation"]) == relation])
        for function in functions:
            self._function(function)

    def _relation(self, relation: tuple[str, str], columns: Sequence[Mapping[str, Any]]) -> None:
        table = sql.Identifier(*relation)
        for column in columns:
            if column["updates"] and column["type"] in TEXTS:
                self._do(sql.SQL("update {} set {} = {}").format(table, sql.Identifier(column["name"]), self._literal(column, True)))
        may = [c for c in columns if c["inserts"]]
        for chosen in [c for c in may if c["type"] in TEXTS]:
            for more in (True, False):  # once with all known values, once without those that could be refused
                given = [
                    c
                    for c in may
                    if c is chosen or (more and c["name"] in self.known) or c["name"] in ("user_id", "job_type", "project_id")
                ]
                names = sql.SQL(", ").join(sql.Identifier(c["name"]) for c in given)
                values = sql.SQL(", ").join(self._literal(c, c is chosen) for c in given)
                self._do(sql.SQL("insert into {} ({}) values ({})").format(table, names, values))

    def _function(self, function: Mapping[str, Any]) -> None:
        names, types = (function["names"] or [])[: function["count"]], function["types"]
        arguments = [{"name": name, "type": type_} for name, type_ in zip(names, types, strict=False)]
        for chosen in [a for a in arguments if a["type"] in TEXTS]:
            values = sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(a["name"]), self._literal(a, a is chosen)) for a in arguments
            )
            self._do(sql.SQL("select {}({})").format(sql.Identifier(function["schema"], function["name"]), values))

    def _literal(self, place: Mapping[str, Any], marker: bool) -> sql.Composable:
        value = marked(place["type"]) if marker else self.known.get(place["name"], self.known.get(place["type"]))
        return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(place["type"]))

    def call(self, text: str, params: Mapping[str, Any]) -> Any:
        """Call with plausible values that the catalog does not provide; returns the first value, or None if refused."""
        return self._do(sql.SQL(text), params)

    def _do(self, statement: sql.Composable, params: Mapping[str, Any] | None = None) -> Any:
        self.tried += 1
        try:
            with self.api.request(self.becomes, self.user, admin=self.admin) as cursor:
                cursor.execute(statement, params)
                found = cursor.fetchone() if cursor.description else None
        except psycopg.Error:
            return None
        self.taken += 1
        return next(iter(found.values())) if found else None


def readable(api: Api, role: str | None) -> Iterator[tuple[str, str]]:
    """Each relation with everything in it that the role may read, as text. None is the superuser."""
    with api.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        columns = cursor.execute(COLUMNS, {"role": role or "ourvidz"}).fetchall()
    for relation in dict.fromkeys((c["schema"], c["relation"]) for c in columns):
        names = [c["name"] for c in columns if (c["schema"], c["relation"]) == relation and (c["reads"] or role is None)]
        if names:
            fields = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in names)
            rows = api.rows(role, None, sql.SQL("select {} from {}").format(fields, sql.Identifier(*relation)))  # type: ignore[arg-type]
            yield ".".join(relation), json.dumps(rows)


def holding(api: Api, role: str | None) -> set[str]:
    return {name for name, text in readable(api, role) if any(word in text.lower() for word in (MARK, *DIGESTS))}
