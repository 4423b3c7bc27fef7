-- Writes an event that changes no status, for each job whose claim still holds, unless this claim has written the same one before (the
-- answer was lost). Returns the jobs whose claims hold. Internal: called by advance and advance_batch.
create or replace function ourvidz.annotate(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) returns setof uuid
language plpgsql
as $$
declare
  v_held integer[];
  v_ids uuid[];
  v_data jsonb[];
begin
  if not p_event = any ('{enhancement_skipped,reference_skipped,generation_repeated}') then
    raise exception 'advance does not write %: it has a function of its own.', p_event using errcode = 'OV001';
  end if;
  perform ourvidz.check_word(told.value #>> '{}', told.key)
  from unnest(p_data) as d cross join lateral jsonb_each(d) as told where jsonb_typeof(told.value) = 'string';
  v_held := ourvidz.lock_claims(p_jobs, p_claims, p_tokens);
  select array_agg(p_jobs[n]), array_agg(coalesce(p_data[n], '{}')) into v_ids, v_data
  from unnest(v_held) as n
  where (select e.version from public.job_events as e where e.job_id = p_jobs[n] and e.claim_no = p_claims[n] and e.type = p_event
         and e.data = coalesce(p_data[n], '{}') limit 1) is null;
  perform ourvidz.append(v_ids, p_event, v_data, 'executor');
  return query select p_jobs[n] from unnest(v_held) as n;
end
$$;
