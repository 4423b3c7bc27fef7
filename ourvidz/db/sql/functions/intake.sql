-- Takes messages of one queue: each makes its job, joins the row that is there, or is refused, by itself. Each object holds what submit_batch
-- takes, `told` (the settings that the message gave) and `digest` (SHA-256, hex, of its bytes). Answers {ord, outcome, reason?, field?,
-- detail?} for each, and counts it in the same transaction.
create or replace function ourvidz.intake(p_queue text, p_messages jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, ourvidz set plan_cache_mode = force_generic_plan
as $$
declare
  v_known jsonb;
  v_fresh jsonb;
  v_done jsonb := '[]';
begin
  select coalesce(jsonb_agg(m order by n) filter (where there), '[]'), coalesce(jsonb_agg(m order by n) filter (where not there), '[]')
  into v_known, v_fresh
  from (
    select given.n, given.j || jsonb_build_object('ord', given.n) as m, exists (select from public.jobs where id = (given.j->>'id')::uuid) as there
    from jsonb_array_elements(p_messages) with ordinality as given (j, n)
  ) as sorted;

  begin  -- in one go, as nearly always; one that is refused undoes this, and they go one by one
    if v_fresh <> '[]' then
      v_done := ourvidz.intake_fresh(v_fresh);
    end if;
  exception when others then
    perform ourvidz.only_refusals(sqlstate, sqlerrm);
    v_known := v_fresh || v_known;
  end;
  select v_done || coalesce(jsonb_agg(ourvidz.intake_one(m)), '[]') into v_done from jsonb_array_elements(v_known) as m;

  perform ourvidz.intake_record(p_queue, (
    select coalesce(jsonb_agg(r || jsonb_build_object('message_id', m->'id', 'digest', m->'digest')), '[]')
    from jsonb_array_elements(v_done) as r cross join lateral (select p_messages->((r->>'ord')::integer - 1) as m) as its));
  return v_done;
end
$$;

-- New messages in one go: all of them or none.
create or replace function ourvidz.intake_fresh(p_messages jsonb) returns jsonb
language plpgsql
as $$
begin
  perform ourvidz.check_unfinished(user_id, jobs)
  from (select (m->>'user_id')::uuid as user_id, count(*)::integer as jobs from jsonb_array_elements(p_messages) as m group by 1) as of_user;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('ord', p_messages->(s.ord::integer - 1)->'ord',
                                                 'outcome', case when s.created then 'drained' else 'repeated' end)), '[]')
    from ourvidz.submit_batch((
      -- Whose project, video and pictures they are is asked here, as at every door; the settings are those that were resolved.
      select coalesce(jsonb_agg(ourvidz.check_owned(m) || jsonb_build_object('settings', m->'settings') - '{ord,told,digest}'::text[] order by n), '[]')
      from jsonb_array_elements(p_messages) with ordinality as given (m, n)), 'intake') as s);
end
$$;

-- Goes on where a message was refused; whatever else went wrong is raised again, and the message stays where it is.
create or replace function ourvidz.only_refusals(p_state text, p_message text) returns void
language plpgsql
as $$
begin
  if p_state not like 'OV%' then
    raise exception '%', p_message using errcode = p_state;
  end if;
end
$$;
