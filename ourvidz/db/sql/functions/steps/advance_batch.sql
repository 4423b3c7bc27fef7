-- Records one step of many claims: appends p_event to each job whose claim still holds and whose user may have jobs made. Returns the jobs
-- that moved; ourvidz.advance tells why one of the others did not.
create or replace function ourvidz.advance_batch(
  p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[] default null
) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  if p_event in ('enhancement_started', 'generation_started', 'upload_started') then
    return query
      select ourvidz.append_held(array_agg(id), array_agg(claim_no), array_agg(token), p_event, array_agg(ourvidz.salted(id, data)))
      from unnest(p_jobs, p_claims, p_tokens, p_data) as g (id, claim_no, token, data)
      where ourvidz.may_run((select user_id from public.jobs where id = g.id limit 1));
  else
    return query select ourvidz.annotate(p_jobs, p_claims, p_tokens, p_event, p_data);
  end if;
end
$$;
