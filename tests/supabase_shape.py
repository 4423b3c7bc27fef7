"""A database as Supabase provides it, as far as our migrations can tell: created by roles that are not ours, default privileges that grant
everything to the API's roles, and timeouts. (The hosted service's other parts, above all its extension supautils, are not reproduced.)"""

from __future__ import annotations

import psycopg
from support import OWNER, Server

ROLES = {
    "supabase_auth_admin": "nologin noinherit createrole",
    "supabase_storage_admin": "nologin noinherit",
    "anon": "nologin noinherit",
    "authenticated": "nologin noinherit",
    "service_role": "nologin noinherit bypassrls",
    "authenticator": "login noinherit",
}

TIMEOUTS = {"anon": 3, "authenticated": 8}  # seconds per statement; PostgREST applies them when it takes the role

SHAPE = """
create schema auth authorization supabase_auth_admin;
create schema storage authorization supabase_storage_admin;
create schema extensions;
grant usage on schema auth, storage, extensions to {owner}, anon, authenticated, service_role;
set role supabase_auth_admin;
create table auth.users (
  id uuid primary key, email text, raw_app_meta_data jsonb, raw_user_meta_data jsonb, created_at timestamptz default now());
create function auth.uid() returns uuid language sql stable as
  $f$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb->>'sub')::uuid $f$;
reset role;
create function auth.role() returns text language sql stable as
  $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb->>'role' $f$;
create function auth.jwt() returns jsonb language sql stable as
  $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $f$;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.jwt() owner to supabase_auth_admin;
grant select, insert, references, trigger on auth.users to {owner};
set role supabase_storage_admin;
create table storage.buckets (
  id text primary key, name text not null unique, owner uuid, public boolean default false, avif_autodetection boolean,
  file_size_limit bigint, allowed_mime_types text[], created_at timestamptz default now(), updated_at timestamptz default now());
create table storage.objects (
  id uuid primary key default gen_random_uuid(), bucket_id text references storage.buckets, name text, owner uuid,
  metadata jsonb, created_at timestamptz default now(), updated_at timestamptz default now(), last_accessed_at timestamptz default now());
alter table storage.objects enable row level security;
alter table storage.buckets enable row level security;
create function storage.foldername(name text) returns text[] language sql immutable as
  $f$ select (string_to_array(name, '/'))[1:array_length(string_to_array(name, '/'), 1) - 1] $f$;
grant select, insert, update, delete on storage.objects, storage.buckets to {owner}, anon, authenticated, service_role;
reset role;
create schema realtime;
create table realtime.messages (topic text, payload jsonb, event text, private boolean, extension text);
alter table realtime.messages enable row level security;
create function realtime.topic() returns text language sql stable as $f$ select current_setting('realtime.topic', true) $f$;
alter table realtime.messages owner to {owner};
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void language plpgsql as $f$
begin
  begin
    execute format('set local realtime.topic to %L', topic);
    insert into realtime.messages (payload, event, topic, private, extension) values (payload, event, topic, private, 'broadcast');
  exception when others then
    raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
  end;
end $f$;
grant usage on schema realtime to {owner}, authenticated;
grant select on realtime.messages to authenticated;
create publication supabase_realtime;
alter publication supabase_realtime owner to {owner};
"""


DEFAULTS = """
alter default privileges for role {owner} in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public grant all on sequences to anon, authenticated, service_role;
"""


def supabase_database(server: Server, *, grants_by_default: bool = True) -> str:
    """Create such a database and return its name. The caller drops it. Projects created since October 2026 grant nothing by default: each
    new table, function or sequence of schema public needs explicit grants to the API's roles."""
    name = server.create(prefix="supabase")
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
        there = {role for (role,) in connection.execute("select rolname from pg_roles").fetchall()}
        for role, options in ROLES.items():
            if role not in there:
                connection.execute(f"create role {role} {options}")
        connection.execute(f"grant anon, authenticated, service_role to authenticator, {OWNER}")
        for role, seconds in TIMEOUTS.items():
            connection.execute(f"alter role {role} set statement_timeout = '{seconds}s'")
        connection.execute((SHAPE + (DEFAULTS if grants_by_default else "")).replace("{owner}", OWNER))
    return name
