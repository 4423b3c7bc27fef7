-- Reroutes a job whose row is locked. Its settings become ones that the fallback supports; the original ones stay in the event as far as
-- they are numbers and listed words (what check_settings knows), and whole in the payload's metadata. Internal: for reroute and the reaper.
-- A cheaper fallback refunds the difference. A more expensive one holds nothing more: its user did not ask for it.
create or replace function ourvidz.reroute_job(j public.jobs, p_reason text, p_actor text) returns void
language plpgsql
as $$
declare
  v_kind ourvidz.job_types;
  v_fallback ourvidz.job_types;
  v_asked jsonb;
  v_settings jsonb;
  v_lane text;
  v_start float8;
  v_change bigint;
begin
  if not ourvidz.may_run(j.user_id) then
    perform ourvidz.refuse_unverified(j.user_id);
  end if;
  select settings into v_asked from public.job_payloads where job_id = j.id;
  if ourvidz.why_not_reroute(j.id, j.job_type, v_asked) is not null then
    raise exception 'Job % cannot be rerouted: %.', j.id, ourvidz.why_not_reroute(j.id, j.job_type, v_asked)
      using errcode = 'OV009', column = 'job_type', hint = 'Let it wait for an executor of its own family, or cancel it.';
  end if;
  select * into v_kind from ourvidz.job_types where name = j.job_type;
  select * into v_fallback from ourvidz.job_types where name = v_kind.fallback;
  v_settings := ourvidz.reroute_settings(v_kind, v_fallback, v_asked);
  perform ourvidz.check_settings(v_fallback.name, v_settings, v_fallback.limits);
  v_lane := ourvidz.lane_of(v_fallback.family, v_settings);
  select start into v_start from ourvidz.next_rank(j.user_id, v_lane, 1);  -- which locks the profile
  select case when held = 0 then 0 else least(v_fallback.price - v_kind.price, 0) end into v_change
  from (select coalesce(sum(amount) filter (where account = 'held'), 0) as held  -- as in ledger_follow
        from ourvidz.token_entries where job_id = j.id) as entries;

  update public.job_payloads
  set settings = v_settings,
      metadata = metadata || jsonb_build_object('rerouted', jsonb_build_object('job_type', v_kind.name, 'settings', v_asked))
  where job_id = j.id;
  perform ourvidz.append(array[j.id], 'rerouted', array[jsonb_build_object(
    'job_type', v_fallback.name, 'lane', v_lane,
    'rank', ourvidz.json_number(v_start + ourvidz.priority_offset(j.priority)),
    'from_type', v_kind.name, 'reason', p_reason, 'price_change', v_change,
    'settings', (select jsonb_object_agg(key, value) from jsonb_each(v_asked) where key in ('width', 'height') or v_kind.limits ? key))],
    p_actor);
  update public.jobs as r
  set model_type = beside.told->>'model_type', worker_type = beside.told->>'worker_type',
      metadata = r.metadata || ((beside.told->'metadata') - '{prompt,num_images}'::text[])
  from (select ourvidz.legacy_columns(v_fallback, null) as told) as beside where r.id = j.id;
  if j.ready then
    perform ourvidz.wake(v_lane, 1);
  end if;
end
$$;
