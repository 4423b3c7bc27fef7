-- Completes the jobs of many claims. One job with an output that is recorded but not uploaded refuses the whole batch.
create or replace function ourvidz.complete_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_held integer[];
  v_ids uuid[];
  v_open uuid;
begin
  v_held := ourvidz.lock_claims(p_jobs, p_claims, p_tokens);
  select array_agg(p_jobs[n]) into v_ids from unnest(v_held) as n;
  select job_id into v_open from public.artifacts where job_id = any (v_ids) and uploaded_at is null limit 1;
  if found then
    raise exception 'Job % has an output that is not uploaded yet.', v_open using errcode = 'OV001', hint = 'Upload it, then complete.';
  end if;
  perform ourvidz.append(v_ids, 'completed',
    (select array_agg(jsonb_build_object('artifacts', (select count(*) from public.artifacts where job_id = id)) order by n)
     from unnest(v_ids) with ordinality as done (id, n)),
    'executor');
  return query select unnest(v_ids);
end
$$;
