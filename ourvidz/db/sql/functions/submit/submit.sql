-- Submits one job: reads the raw request of its source ('rpc', 'row', 'redis', 'cli' or 'import') as every source is read, checks it and
-- queues it, once. Returns what job_status does, and whether the job was created. dry_run: returns what the job would be, cost and wait,
-- and writes nothing; refusals are the same. Raises OV009 for a wrong value, and whatever else refuses a job.
create or replace function ourvidz.submit(request jsonb, source text, dry_run boolean default false) returns jsonb
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_actor constant text := case source when 'rpc' then 'person' when 'row' then 'person' when 'redis' then 'intake'
                                       when 'cli' then 'person' when 'import' then 'migration' end;
  v_made record;
begin
  if v_actor is null then
    raise exception 'There is no way in called "%".', left(source, 40) using errcode = 'OV009', column = 'source';
  elsif dry_run then
    return ourvidz.submit_dry(request, source);
  elsif source = 'redis' and request ?| '{id,jobId}' then
    return ourvidz.intake_submit(request);
  end if;
  select * into v_made from ourvidz.submit_batch(jsonb_build_array(request), v_actor, source);
  return ourvidz.submitted(v_made.job_id, v_made.created);
end
$$;

create or replace function ourvidz.submitted(p_job uuid, p_created boolean) returns jsonb
language sql stable
as $$
  select ourvidz.job_view(p_job) || jsonb_build_object('created', p_created, 'balance',
    (select token_balance from public.profiles as p join public.jobs as j on j.user_id = p.id where j.id = p_job))
$$;
