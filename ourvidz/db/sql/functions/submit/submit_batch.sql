-- Queues jobs, all of them or none. Each object is a raw request of the source (ourvidz.normalise_requests), or has user_id, job_type, prompt and
-- optionally settings, config, id, idempotency_key, run_at, negative_prompt, metadata, project_id, video_id, image_id. The same id or key
-- with the same body again is the same job. The set-based form of ourvidz.submit.
create or replace function ourvidz.submit_batch(p_jobs jsonb, p_actor text default 'system', p_source text default 'cli')
returns table (ord bigint, job_id uuid, created boolean)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_asked constant ourvidz.asked_job[] := ourvidz.normalise_requests(p_jobs, p_source);
  v_fresh ourvidz.asked_job[];
begin
  perform ourvidz.check_requests(v_asked);

  -- Serialises submits per id and key: a second submit waits here, then finds the first one's job.
  perform ourvidz.lock_names('submit', array(
    select user_id::text || '/' || idempotency_key from unnest(v_asked) where idempotency_key is not null
    union all select a.id::text from unnest(v_asked) as a));

  return query
  select a.ord, p.job_id, false
  from unnest(v_asked) as a
  join public.job_payloads as p on p.job_id = a.id or (p.user_id = a.user_id and p.idempotency_key = a.idempotency_key)
  where ourvidz.check_same_request(a, p);

  -- Within one batch too, the first request with a key makes the job.
  select array_agg(a order by a.ord) into v_fresh
  from (select distinct on (coalesce(asked.user_id::text || asked.idempotency_key, asked.id::text)) asked.*
        from unnest(v_asked) as asked order by coalesce(asked.user_id::text || asked.idempotency_key, asked.id::text), asked.ord) as a
  where not exists (select from public.job_payloads as p
                    where p.job_id = a.id or (p.user_id = a.user_id and p.idempotency_key = a.idempotency_key));
  if v_fresh is not null then
    perform ourvidz.insert_submitted(v_fresh, v_now, p_actor);
  end if;

  return query
  select a.ord, fresh.id, a.ord = fresh.ord
  from unnest(v_asked) as a
  join unnest(v_fresh) as fresh  -- an equality, which can be hashed: a batch may be long
    on coalesce(fresh.user_id::text || fresh.idempotency_key, fresh.id::text) = coalesce(a.user_id::text || a.idempotency_key, a.id::text);
end
$$;
