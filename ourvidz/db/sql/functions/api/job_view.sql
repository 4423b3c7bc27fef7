-- Returns a job as its user sees it. `word` is the legacy front end's status: queued | processing | completed | failed. `charge`: outputs
-- delivered so far, tokens charged at the ends that the job has had, tokens held.
create or replace function ourvidz.job_view(p_job uuid) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'job_id', j.id, 'job', to_jsonb(j) - '{head_hash,ready,rank,lane,crashed_on,executor_id,deadline}'::text[]
           || jsonb_build_object('metadata', coalesce(j.metadata, p.metadata), 'error_message', coalesce(j.error_message, p.error_message)),
    'status', j.status, 'version', j.version, 'allowed', to_jsonb(ourvidz.allowed_next(j)),
    'word', case when j.status in ('queued', 'completed') then j.status when j.status in ('failed', 'cancelled') then 'failed' else 'processing' end,
    'position', place.n, 'eta_seconds', ceil(place.eta),
    'stage', j.status, 'progress', jsonb_build_object('generated', made.generated, 'uploaded', made.uploaded,
                                                      'total', coalesce((p.settings->>'images')::integer, 1)),
    'charge', jsonb_build_object('delivered', made.uploaded, 'charged', paid.charged, 'held', paid.held),
    'price', (select (e.data->>'price')::bigint from public.job_events as e
              where e.job_id = j.id and e.type in ('submitted', 'retried') order by e.version desc limit 1),
    'error', case when j.status = 'cancelled' then jsonb_build_object('class', 'cancelled', 'message', 'cancelled')
                  when j.error_class is not null then jsonb_build_object('class', j.error_class, 'message', p.error_message) end,
    'waits_for', ourvidz.waits_for(j),
    'set_aside', coalesce(p.set_aside, '[]'), 'assets', made.assets)
  from public.jobs as j
  left join public.job_payloads as p on p.job_id = j.id
  cross join lateral ourvidz.queue_position(j) as place
  cross join lateral (
    select count(*) filter (where kind <> 'thumbnail') as generated,
           count(*) filter (where kind <> 'thumbnail' and uploaded_at is not null) as uploaded,
            coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'path', path, 'kind', kind, 'index', index, 'media_type', media_type,
                                                  'report', ourvidz.report_link(job_id, index))
                               order by kind = 'thumbnail', index)
                     filter (where uploaded_at is not null and deleted_at is null and not taken_down), '[]') as assets
    from public.artifacts where job_id = j.id
  ) as made
  cross join lateral (
    select coalesce(sum(amount) filter (where account = 'revenue'), 0) as charged, coalesce(sum(amount) filter (where account = 'held'), 0) as held
    from ourvidz.token_entries where job_id = j.id
  ) as paid
  where j.id = p_job
$$;
