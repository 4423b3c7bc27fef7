-- Adds settings and weights that only the message has to an unclaimed job made by a plain INSERT, where the row's metadata left them out.
-- Appends an event if they change the job's price or the models that it needs.
create or replace function ourvidz.intake_settings(j public.jobs, a ourvidz.asked_job) returns void
language plpgsql
as $$
declare
  v_kind constant ourvidz.job_types := ourvidz.kind_of(j.job_type);
  v_had public.job_payloads;
  v_new public.job_payloads;
  v_row jsonb;
  v_lane text;
  v_change bigint;
begin
  select * into v_had from public.job_payloads where job_id = j.id;
  if v_had.source is distinct from 'row' then
    return;  -- a job from another source was requested in full
  end if;
  v_row := (ourvidz.normalise_requests(jsonb_build_array(jsonb_build_object('user_id', j.user_id, 'job_type', j.job_type,
                                                                    'metadata', v_had.metadata)), 'row'))[1].chosen;
  v_new := v_had;
  select v_had.settings || coalesce(jsonb_object_agg(key, value), '{}') into v_new.settings
  from jsonb_each(a.chosen) where key not like 'compel%' and not v_row ? key;
  if a.chosen ? 'compel_weights' and not v_row ? 'compel_weights' then
    v_new.prompt := ourvidz.weighted_prompt(v_had.prompt, a.chosen);
    v_new.metadata := v_had.metadata || jsonb_build_object('compel_enabled', true, 'compel_weights', a.chosen->'compel_weights');
  end if;
  select jsonb_agg(distinct one) into v_new.set_aside
  from jsonb_array_elements(coalesce(v_had.set_aside, '[]') || coalesce(a.set_aside, '[]')) as one;
  if v_new is not distinct from v_had then
    return;
  end if;
  perform ourvidz.check_references(v_kind, coalesce(v_new.settings->'references', '{}'));
  perform ourvidz.check_settings(j.job_type, v_new.settings, v_kind.limits);
  update public.job_payloads set settings = v_new.settings, prompt = v_new.prompt, metadata = v_new.metadata, set_aside = v_new.set_aside
  where job_id = j.id;
  v_lane := ourvidz.lane_of(v_kind.family, v_new.settings);
  v_change := ourvidz.price_of(j.job_type, v_new.settings) - ourvidz.price_of(j.job_type, v_had.settings);
  if v_lane <> j.lane or v_change <> 0 then
    perform ourvidz.append(array[j.id], 'rerouted', array[jsonb_build_object(
      'job_type', j.job_type, 'from_type', j.job_type, 'lane', v_lane, 'reason', 'message', 'price_change', v_change,
      'rank', ourvidz.json_number(case when v_lane = j.lane then j.rank
                                  else (select start from ourvidz.next_rank(j.user_id, v_lane, 1)) + ourvidz.priority_offset(j.priority) end))],
      'intake');
    perform ourvidz.wake(v_lane, 1);
  end if;
end
$$;
