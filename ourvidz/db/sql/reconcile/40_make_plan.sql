-- Makes the plan, and undoes everything that was tried for it.
create or replace function pg_temp.make_plan() returns void language plpgsql as $$
declare
  v_relation text;
  v_plan text;
begin
  perform pg_temp.plan_names();
  perform pg_temp.plan_roles();
  perform pg_temp.plan_jobs();
  perform pg_temp.plan_policies();
  if to_regclass('ourvidz.import_decisions') is null then
    perform pg_temp.step(1, 'table ourvidz.import_decisions', 'made',
      E'create schema if not exists ourvidz;\ncreate table ourvidz.import_decisions (\n  user_id uuid not null,\n'
      '  what text not null check (what in (''role'', ''balance'', ''plan'', ''age'')),\n  older_value text not null,\n  believed boolean not null,\n'
      '  decided_by text not null,\n  at timestamptz not null,\n  primary key (user_id, what, older_value));\n'
      'comment on table ourvidz.import_decisions is ''What users of the older system had written about themselves, and whether the operator believed it.''');
  end if;
  for v_relation in select relation from wanted_columns group by relation order by min(n) loop
    perform pg_temp.plan_table(v_relation);
  end loop;
  perform pg_temp.plan_beliefs();
  perform pg_temp.plan_job_views();
  perform pg_temp.plan_views();
  raise exception using errcode = 'OV000', message = (select coalesce(jsonb_agg(to_jsonb(p) order by p.phase, p.n), '[]') from plan as p)::text;
exception when sqlstate 'OV000' then
  get stacked diagnostics v_plan = message_text;
  insert into plan (phase, object, action, statement, refused, remedy)
  select phase, object, action, statement, refused, remedy
  from jsonb_to_recordset(v_plan::jsonb) as p (phase integer, n integer, object text, action text, statement text, refused text, remedy text) order by phase, n;
end
$$;
select pg_temp.make_plan();
