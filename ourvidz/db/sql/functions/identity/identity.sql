-- Returns which database this is (ourvidz.identities); no row until `migrate` has finished, as in a schema that waits for its rows.
create or replace function ourvidz.identity() returns ourvidz.identities
language sql stable
as $$ select * from ourvidz.identities order by n desc limit 1 $$;

-- Returns the server's and the database's own ids, which no dump carries; a copy of a server's files has the same ones. The server's is 0
-- where it is not readable by us or by the owner of our functions.
create or replace function ourvidz.server_identity(out system_identifier bigint, out database_oid oid)
language plpgsql stable
as $$
begin
  database_oid := (select d.oid from pg_database as d where d.datname = current_database());
  system_identifier := 0;
  if has_function_privilege('ourvidz_owner', 'pg_control_system()', 'execute') then
    system_identifier := (select c.system_identifier from pg_control_system() as c);
  end if;
exception when insufficient_privilege or feature_not_supported then
  system_identifier := 0;
end
$$;

-- Returns whether the rows came from another database and no operator has yet decided what this one is (`ourvidz restored`).
-- Called by each step of a job, hence queries with kept plans.
create or replace function ourvidz.is_copy() returns boolean
language plpgsql stable
as $$
declare
  v_server bigint;
  v_elsewhere boolean;
begin
  select i.system_identifier, i.database_oid <> (select d.oid from pg_database as d where d.datname = current_database())
  into v_server, v_elsewhere
  from ourvidz.identities as i order by i.n desc limit 1;
  if not found then
    return true;
  elsif v_server is null then
    return false;
  elsif v_elsewhere or v_server = 0 then
    return v_elsewhere;
  end if;
  -- A separate statement: Postgres checks the privilege when a query starts, even if the call is never reached.
  return v_server <> (select c.system_identifier from pg_control_system() as c);
end
$$;

-- Refuses (OV050) outside effects in a copy: two databases would make each job, send each message and delete each object.
create or replace function ourvidz.refuse_copy() returns void
language plpgsql stable
as $$
begin
  if ourvidz.is_copy() then
    raise exception 'This database was restored, moved or copied from another one, and nobody has said yet which of the two goes on.'
      using errcode = 'OV050', hint = 'Run `ourvidz restored --replaces` or `ourvidz restored --copy`: nothing is made or sent before.';
  end if;
end
$$;
