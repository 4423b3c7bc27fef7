-- Which database this is (ourvidz.identities); no row where `migrate` has not finished, as in a schema that waits for its rows.
create or replace function ourvidz.identity() returns ourvidz.identities
language sql stable
as $$ select * from ourvidz.identities order by n desc limit 1 $$;

-- The server's and the database's own names, which no dump takes along. A copy of a server's files has the same. The server's is 0 where it does
-- not say it.
create or replace function ourvidz.whereabouts(out system_identifier bigint, out database_oid oid)
language plpgsql stable
as $$
begin
  database_oid := (select d.oid from pg_database as d where d.datname = current_database());
  system_identifier := (select c.system_identifier from pg_control_system() as c);
exception when insufficient_privilege or feature_not_supported then
  system_identifier := 0;
end
$$;

-- Whether its rows came from another database, and nobody has said yet what it is (`ourvidz restored`).
-- Asked by each step of a job, hence one query of a kept plan.
create or replace function ourvidz.is_copy() returns boolean
language plpgsql stable
as $$
begin
  return coalesce((
    select i.system_identifier is not null
           and (case when i.system_identifier <> 0 then i.system_identifier <> (select c.system_identifier from pg_control_system() as c) else false end
                or i.database_oid <> (select d.oid from pg_database as d where d.datname = current_database()))
    from ourvidz.identities as i order by i.n desc limit 1), true);
end
$$;

-- Refuses (OV050) what acts on the world in a copy's name: two databases would make each job, send each message and delete each object.
create or replace function ourvidz.refuse_copy() returns void
language plpgsql stable
as $$
begin
  if ourvidz.is_copy() then
    raise exception 'This database was restored, moved or copied from another one, and nobody has said yet which of the two goes on.'
      using errcode = 'OV050', hint = 'Run `ourvidz restored --instead` or `ourvidz restored --beside`: nothing is made or sent before.';
  end if;
end
$$;
