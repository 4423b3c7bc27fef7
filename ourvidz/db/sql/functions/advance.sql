-- One step of one claim. Raises OV002 when the claim is stale, OV001 when the step may not follow.
create or replace function ourvidz.advance(p_job uuid, p_claim bigint, p_token uuid, p_event text, p_data jsonb default '{}') returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz set plan_cache_mode = force_generic_plan
as $$
begin
  if p_event in ('enhancement_started', 'generation_started', 'upload_started') then
    perform ourvidz.append_held(array[p_job], array[p_claim], array[p_token], p_event, array[p_data]);
  else
    perform ourvidz.remark(array[p_job], array[p_claim], array[p_token], p_event, array[p_data]);
  end if;
  if not found then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
end
$$;
