-- What only the message says of a job that a plain INSERT made, and that nobody has claimed: settings that the row's metadata left out. Where
-- they change what the job costs or which models it needs, an event says so.
create or replace function ourvidz.intake_settings(j public.jobs, p_told jsonb) returns void
language plpgsql
as $$
declare
  v_kind ourvidz.job_types;
  v_had jsonb;
  v_new jsonb;
  v_lane text;
  v_change bigint;
begin
  select * into v_kind from ourvidz.job_types where name = j.job_type;
  select settings into v_had from public.job_payloads where job_id = j.id;
  select v_had || coalesce(jsonb_object_agg(key, value), '{}') into v_new
  from jsonb_each(p_told) where not ourvidz.wire_settings(j.job_type, '{}', coalesce(j.metadata, p_told)) ? key;
  if j.metadata is null or v_new = v_had then
    return;  -- a job of another way in was asked for whole
  end if;
  perform ourvidz.check_references(v_kind, coalesce(v_new->'references', '{}'));
  perform ourvidz.check_settings(j.job_type, v_new, v_kind.limits);
  update public.job_payloads set settings = v_new where job_id = j.id;
  v_lane := ourvidz.lane_of(v_kind.family, v_new);
  v_change := ourvidz.price_of(j.job_type, v_new) - ourvidz.price_of(j.job_type, v_had);
  if v_lane <> j.lane or v_change <> 0 then
    perform ourvidz.append(array[j.id], 'rerouted', array[jsonb_build_object(
      'job_type', j.job_type, 'from_type', j.job_type, 'lane', v_lane, 'reason', 'message', 'price_change', v_change,
      'rank', case when v_lane = j.lane then j.rank
                   else (select start from ourvidz.next_rank(j.user_id, v_lane, 1)) + ourvidz.head_start(j.priority) end)],
      'intake');
    perform ourvidz.wake(v_lane, 1);
  end if;
end
$$;
