-- Asks for one job: reads the raw request of its source ('rpc', 'row', 'redis', 'cli' or 'import') as every way in does, checks it and
-- queues it, once. Answers as job_status does, and whether the job was created. dry_run: what it would be, cost and wait, and nothing is
-- written; a refusal is the same. Raises OV009 for a value that is wrong, and whatever else refuses a job.
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
  select ourvidz.seen(p_job) || jsonb_build_object('created', p_created, 'balance',
    (select token_balance from public.profiles as p join public.jobs as j on j.user_id = p.id where j.id = p_job))
$$;

-- A request as it will be made: job_type, settings, prompt, negative_prompt, lane, price, references, set_aside, metadata, chosen (what the
-- request gave itself) … Raises OV009 for settings that are wrong, OV018 for what is another's; asks nothing of the user, the prompt or
-- the balance, and writes nothing. A seed that was not asked for is drawn when the job is queued.
create or replace function ourvidz.normalise(request jsonb, source text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  a constant ourvidz.asked_job := (ourvidz.read_asked(jsonb_build_array(request), source))[1];
  v_kind constant ourvidz.job_types := ourvidz.kind_of(a.job_type);
begin
  perform ourvidz.check_made(a, v_kind);
  return to_jsonb(a) - '{ord,body_digest,source}'::text[] || jsonb_build_object(
    'set_aside', coalesce(a.set_aside, '[]'), 'price', ourvidz.price_of(a.job_type, a.settings),
    'references', coalesce(a.settings->'references', '{}'));
end
$$;

create or replace function ourvidz.kind_of(p_type text) returns ourvidz.job_types
language plpgsql stable
as $$
declare
  v_kind ourvidz.job_types;
begin
  select * into v_kind from ourvidz.job_types where name = p_type;
  if not found then
    raise exception 'There is no job type "%".', coalesce(left(p_type, 40), '') using errcode = 'OV009', column = 'job_type';
  end if;
  return v_kind;
end
$$;
