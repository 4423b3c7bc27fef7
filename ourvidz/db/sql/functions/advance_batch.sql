-- One step of many claims at once: appends p_event to each job whose claim still holds. Returns the jobs that moved; the rest were stale.
-- A remark (an event that moves nothing) that this claim has made before is not made again: the answer to the first was lost.
create or replace function ourvidz.advance_batch(
  p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[] default null
) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, ourvidz set plan_cache_mode = force_generic_plan
as $$
declare
  v_held integer[];
  v_ids uuid[];
  v_data jsonb[];
begin
  if not p_event = any ('{enhancement_started,generation_started,upload_started,enhancement_skipped,reference_skipped,generation_repeated}') then
    raise exception 'advance does not write %: it has a function of its own.', p_event using errcode = 'OV001';
  end if;
  v_held := ourvidz.lock_claims(p_jobs, p_claims, p_tokens);
  select array_agg(p_jobs[n]), array_agg(coalesce(p_data[n], '{}')) into v_ids, v_data
  from unnest(v_held) as n
  where p_event in ('enhancement_started', 'generation_started', 'upload_started')
     or not exists (select from public.job_events as e
                    where e.job_id = p_jobs[n] and e.claim_no = p_claims[n] and e.type = p_event and e.data = coalesce(p_data[n], '{}'));
  perform ourvidz.append(v_ids, p_event, v_data, 'executor');
  return query select p_jobs[n] from unnest(v_held) as n;
end
$$;
