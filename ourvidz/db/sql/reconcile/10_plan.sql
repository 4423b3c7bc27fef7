-- The plan: what is done to an existing object, in the order of `phase`, or why it cannot be done and how to fix it. Everything below only
-- reads, and tries on temporary tables.
drop table if exists pg_temp.plan cascade;
create temp table plan (
  n integer generated always as identity, phase integer not null, object text not null, action text, statement text, refused text, remedy text);

create or replace function pg_temp.step(p_phase integer, p_object text, p_action text, p_statement text) returns void language sql as
$$ insert into pg_temp.plan (phase, object, action, statement) values (p_phase, p_object, p_action, p_statement) $$;
create or replace function pg_temp.refuse(p_object text, p_reason text, p_remedy text) returns void language sql as
$$ insert into pg_temp.plan (phase, object, refused, remedy) values (0, p_object, p_reason, p_remedy) $$;

-- Plans a change of one of our tables, and applies it to the copy on which our writes are tried.
create or replace function pg_temp.alter_table(p_phase integer, p_relation text, p_object text, p_action text, p_clause text) returns void
language plpgsql as $$
begin
  execute 'alter table pg_temp.trial ' || p_clause;
  perform pg_temp.step(p_phase, p_object || ' of public.' || p_relation, p_action, format('alter table public.%I %s', p_relation, p_clause));
end
$$;

create or replace function pg_temp.has_rows(p_relation text) returns boolean language plpgsql as $$
declare v_found boolean;
begin
  execute format('select exists (select from public.%I)', p_relation) into v_found;
  return v_found;
end
$$;
