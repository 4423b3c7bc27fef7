-- One step of many claims at once: appends p_event to each job whose claim still holds. Returns the jobs that moved; the rest were stale.
create or replace function ourvidz.advance_batch(
  p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[] default null
) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  if p_event in ('enhancement_started', 'generation_started', 'upload_started') then
    return query select ourvidz.append_held(p_jobs, p_claims, p_tokens, p_event, p_data);
  else
    return query select ourvidz.remark(p_jobs, p_claims, p_tokens, p_event, p_data);
  end if;
end
$$;
