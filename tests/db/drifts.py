"""Random schema drift of the production database: changes that somebody may have made since, each as SQL."""

# ruff: noqa: E501  (SQL, as it would be typed)

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg

from ourvidz.db.connection import Database

TABLES = ("profiles", "user_roles", "characters", "projects", "scenes", "videos", "images", "usage_logs", "model_test_results",
          "system_config", "user_activity_log", "jobs")  # fmt: skip

OTHER_TYPES = {
    # a type → other types that somebody may have given the column, with the cast
    "text": ["varchar(8)", "varchar(400)", "char(40)", "name", "d_short", "e_word", "bytea", "xml"],
    "character varying": ["text", "char(100)", "varchar(255)"],
    "integer": ["bigint", "smallint", "numeric", "text", "double precision", "boolean"],
    "bigint": ["integer", "numeric", "text"],
    "numeric": ["double precision", "integer", "text", "money"],
    "double precision": ["numeric", "integer"],
    "uuid": ["text", "varchar(36)"],
    "boolean": ["text", "integer"],
    "jsonb": ["json", "text"],
    "timestamp with time zone": ["timestamp", "date", "text", "varchar(40)"],
    "ARRAY": ["text", "jsonb"],
    "inet": ["text", "cidr"],
}
DEFAULTS = {
    "text": "'of its own'",
    "integer": "42",
    "numeric": "1.5",
    "boolean": "true",
    "jsonb": "'{}'",
    "timestamp with time zone": "'2020-01-01'",
    "uuid": "gen_random_uuid()",
}


class Drift:
    """Drift of one database: the statements that were applied, in order."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.dice = random.Random(seed)
        self.done: list[str] = []

    def happen(self) -> list[str]:
        kinds: list[Callable[[], str]] = [
            self.column_missing, self.column_extra, self.column_extra, self.type_other, self.type_other, self.type_other, self.default_own, self.default_own,
            self.check_own, self.check_own, self.enum_words, self.key_renamed, self.key_dropped, self.trigger_own, self.trigger_own, self.policy_own,
            self.nullability, self.unique_own, self.security, self.table_missing, self.view_own, self.function_own, self.jobs_words, self.row_odd,
        ]  # fmt: skip
        for _ in range(self.dice.randint(1, 4)):
            statement = self.dice.choice(kinds)()
            try:
                with self.database.driver() as connection, connection.transaction():
                    connection.execute(statement)
            except psycopg.Error:
                continue  # impossible drift: a view or a key prevents it
            self.done.append(statement)
        return self.done

    def column(self, table: str | None = None) -> tuple[str, str, str]:
        """A random table, one of its columns, and the column's type."""
        table = table or self.dice.choice(TABLES)
        sql = "select column_name as name, data_type as type from information_schema.columns where table_schema = 'public' and table_name = %s order by 1"
        found = self.database.rows(sql, (table,))
        if not found:
            return "profiles", "username", "text"
        picked = self.dice.choice(found)
        return table, picked["name"], picked["type"]

    def name(self) -> str:
        return f"own_{self.dice.randrange(10**6)}"

    def column_missing(self) -> str:
        table, column, _ = self.column()
        return f"alter table public.{table} drop column {column} cascade"

    def column_extra(self) -> str:
        table, name = self.dice.choice(TABLES), self.name()
        kind = self.dice.choice(["text", "integer", "jsonb", "uuid", "timestamptz"])
        value = {"text": "''", "integer": "0", "jsonb": "'{}'", "uuid": "gen_random_uuid()", "timestamptz": "now()"}[kind]
        return self.dice.choice([
            f"alter table public.{table} add column {name} {kind}",
            f"alter table public.{table} add column {name} {kind} not null default {value}",
            f"alter table public.{table} add column {name} {kind} not null default {value}; alter table public.{table} alter column {name} drop default",
            f"alter table public.{table} add column {name} text generated always as ('x') stored",
        ])  # fmt: skip

    def type_other(self) -> str:
        table, column, kind = self.column()
        other = self.dice.choice(OTHER_TYPES.get(kind, ["text"]))
        made = {"d_short": "create domain public.d_short as text check (length(value) < 40)", "e_word": ""}.get(other, "")
        if other == "e_word":
            made = f"do $$ begin execute (select format('create type public.e_word as enum (%s)', coalesce(string_agg(distinct quote_literal(left({column}, 60)), ','), '''x''')) from public.{table}); end $$"
        over = {
            "boolean": f"({column}::text in ('true', '1'))",
            "integer": f"{column}::text::numeric::integer" if kind != "boolean" else f"{column}::integer",
        }.get(other, f"{column}::text::{'public.' if other in ('d_short', 'e_word') else ''}{other}")
        where = f"public.{other}" if other in ("d_short", "e_word") else other
        return f"{made}; alter table public.{table} alter column {column} drop default, alter column {column} type {where} using {over}"

    def default_own(self) -> str:
        table, column, kind = self.column()
        value = DEFAULTS.get(kind)
        return f"alter table public.{table} alter column {column} " + (
            f"set default {value}" if value and self.dice.random() < 0.7 else "drop default"
        )

    def check_own(self) -> str:
        table, column, _ = self.column()
        rule = self.dice.choice(
            [
                f"{column} is not null",
                f"{column}::text <> 'failed'",
                f"length({column}::text) < 12",
                f"{column}::text in ('queued', 'inactive', 'draft', 'completed')",
            ]
        )
        name = self.dice.choice(
            [self.name(), f"{table}_{column}_check", f"{table}_bounds", f"{table}_status", "profiles_token_balance_check"]
        )
        return f"alter table public.{table} drop constraint if exists {name}; alter table public.{table} add constraint {name} check ({rule}) not valid"

    def enum_words(self) -> str:
        return self.dice.choice([
            "alter type public.app_role add value 'owner'",
            "alter type public.app_role rename value 'guest' to 'visitor'",
            "alter type public.app_role rename value 'basic_user' to 'member'",
            "alter type public.app_role rename value 'admin' to 'root'",
        ])  # fmt: skip

    def key(self) -> tuple[str, str]:
        sql = """select conname as name, conrelid::regclass::text as relation from pg_constraint
                 where contype in ('f', 'u', 'p') and connamespace = 'public'::regnamespace order by 1, 2"""
        picked = self.dice.choice(self.database.rows(sql))
        return picked["relation"], picked["name"]

    def key_renamed(self) -> str:
        table, name = self.key()
        return f"alter table {table} rename constraint {name} to {self.name()}"

    def key_dropped(self) -> str:
        table, name = self.key()
        return f"alter table {table} drop constraint {name}"

    def trigger_own(self) -> str:
        table, column, _ = self.column()
        when = self.dice.choice(
            ["before insert", "before update", "after insert", "after update", "before insert or update", "before delete"]
        )
        gives = "old" if "delete" in when else "new"
        body = self.dice.choice([
            f"return {gives};",
            f"return {gives};",
            f"perform pg_notify('own', '{table}'); return {gives};",
            f"if to_jsonb({gives})->>'status' = 'failed' then raise exception 'never failed'; end if; return {gives};",
            f"raise exception 'closed'; return {gives};",
            "return null;",
            f"new.{column} := new.{column}; return new;",
            f"new.{column} := null; return new;",
        ])  # fmt: skip
        name = self.name()
        return f"""create function public.{name}() returns trigger language plpgsql as $$ begin {body} end $$;
                   create trigger {name} {when} on public.{table} for each row execute function public.{name}()"""

    def policy_own(self) -> str:
        table = self.dice.choice((*TABLES, "admin_development_progress"))
        verb = self.dice.choice(["all", "select", "insert", "update", "delete"])
        rule = self.dice.choice(["true", "auth.uid() is not null", "public.has_role(auth.uid(), 'admin')"])
        clause = f"with check ({rule})" if verb == "insert" else f"using ({rule})"
        return f'create policy "{self.name()} of their own" on public.{table} for {verb} {clause}'

    def nullability(self) -> str:
        table, column, _ = self.column()
        return f"alter table public.{table} alter column {column} {self.dice.choice(['set', 'drop'])} not null"

    def unique_own(self) -> str:
        table, column, _ = self.column()
        return f"alter table public.{table} add constraint {self.name()} unique ({column})"

    def security(self) -> str:
        verb = self.dice.choice(["disable row level security", "force row level security"])
        return f"alter table public.{self.dice.choice(TABLES)} {verb}"

    def table_missing(self) -> str:
        table = self.dice.choice(["scenes", "model_test_results", "system_config", "user_activity_log", "characters", "usage_logs"])
        return f"drop table public.{table} cascade"

    def view_own(self) -> str:
        table, column, _ = self.column()
        kept = self.dice.choice(["", "", "materialized "])
        return f"create {kept}view public.{self.name()} as select {column}, count(*) as n from public.{table} group by 1"

    def function_own(self) -> str:
        return self.dice.choice([
            "create function public.job_status(job uuid) returns text language sql as 'select null::text'",
            "create or replace function public.has_role(_user_id uuid, _role public.app_role) returns boolean language sql as 'select true'",
            "create function public.has_role(_user_id uuid, _role text) returns boolean language sql as 'select true'",
            "create table public.job_events (id integer)",
            "create rule own_rule as on delete to public.characters do instead nothing",
            "create function public.own_helper() returns integer language sql as 'select 1'",
        ])  # fmt: skip

    def jobs_words(self) -> str:
        word = self.dice.choice(["cancelled", "Complete", "pending", "gone"])
        return f"""alter table public.jobs drop constraint if exists jobs_status_check;
                   update public.jobs set status = '{word}' where status = 'queued' and right(id::text, 2) in ('00', '30', '60')"""

    def row_odd(self) -> str:
        return self.dice.choice([
            """insert into public.jobs (user_id, job_type, metadata) values ('00000000-0000-4000-8000-00000000000a', 'image_fast', '[1, 2]')""",
            """update public.jobs set metadata = null where status = 'completed'""",
            """update public.jobs set created_at = null where status = 'failed'""",
            """update public.profiles set subscription_status = null, token_balance = null""",
            """update public.characters set appearance_tags = array_fill('x'::text, array[300])""",
            """update public.videos set status = null where status = 'draft'""",
        ])  # fmt: skip
