-- Fires once for each INSERT into job_events: a legal event moves its job, an illegal one undoes the statement.
-- This is the only writer of a job's folded columns; jobs_guard refuses all others. Set-based, so batches cost little more than one.
-- No jit: before Postgres 18 a disabled but unavoidable scan has a cost high enough to be compiled, 0.4 s a job.
create or replace function ourvidz.events_apply() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_fresh bigint;
  v_births bigint;
  v_followed boolean;
  v_started boolean;
  v_live boolean;
  v_works boolean;
  v_ended uuid[];
  v_applied bigint := 0;
  v_rows bigint;
begin
  if ourvidz.is_copy() then
    perform ourvidz.refuse_events_out_of_order();
  end if;
  select count(*), count(*) filter (where from_status is null),
         bool_or(type in ('submitted', 'imported', 'retried', 'rerouted', 'completed', 'failed', 'cancelled', 'linked')),
         bool_or(from_status = 'queued' and to_status in ('enhancing', 'generating')),
         bool_or(from_status is distinct from to_status or type in ('artifact_generated', 'artifact_uploaded', 'cancel_requested', 'linked')),
         bool_or(type = any (ourvidz.events_needing_permission())),
         array_agg(job_id) filter (where type in ('completed', 'failed', 'cancelled'))
  into v_fresh, v_births, v_followed, v_started, v_live, v_works, v_ended from fresh;
  if exists (select from fresh as e where ourvidz.invalid_keys(e.type, e.data) <> '{}') then
    perform ourvidz.refuse_event(e.job_id, e.version, e.type, e.from_status, e.to_status, e.claim_no, e.data)
    from fresh as e where ourvidz.invalid_keys(e.type, e.data) <> '{}';
  end if;
  if v_births > 0 then
    -- A plain INSERT (jobs_ask) brings its row before the event: it must be exactly the row that the event creates.
    if pg_trigger_depth() > 1 then
      select count(*) into v_applied
      from fresh as e cross join lateral ourvidz.initial_job(e, v_now) as b join public.jobs as j on j.id = b.id
      where ourvidz.event_columns(j) = ourvidz.event_columns(b);
    end if;
    insert into public.jobs
    select b.* from fresh as e cross join lateral ourvidz.initial_job(e, v_now) as b
    where pg_trigger_depth() = 1 or (select id from public.jobs where id = e.job_id) is null;
    get diagnostics v_rows = row_count;
    v_applied := v_applied + v_rows;
  end if;
  if v_ended is not null then
    perform ourvidz.artifacts_removed(v_ended);
  end if;
  if v_births < v_fresh then
    update public.jobs as target
    set status = n.status, version = n.version, head_hash = n.head_hash, job_type = n.job_type, lane = n.lane,
        video_id = n.video_id, image_id = n.image_id, hidden = n.hidden,
        priority = n.priority, rank = n.rank, ready = n.ready, run_at = n.run_at,
        claim_no = n.claim_no, executor_id = n.executor_id, claimed_at = n.claimed_at, deadline = n.deadline,
        attempts = n.attempts, errors = n.errors, crashes = n.crashes, device_crashes = n.device_crashes,
        crashed_on = n.crashed_on, snoozes = n.snoozes, cancel_requested = n.cancel_requested,
        error_class = n.error_class, final = n.final, enhanced = n.enhanced, generated = n.generated,
        uploaded = n.uploaded, updated_at = n.updated_at, completed_at = n.completed_at, metadata = n.end_metadata, error_message = n.end_message
    from (
      select evolved.*,
             case when it.turns then ourvidz.end_metadata(j, e.type) else j.metadata end as end_metadata,
             case when it.turns then ourvidz.end_message(j, e.type, e.data) else j.error_message end as end_message
      from fresh as e
      join public.jobs as j on j.id = any (array[e.job_id])  -- by its key (docs/decisions/0052, rule 9)
      join ourvidz.transitions as t on t.event = e.type and t.source = e.from_status and t.target = e.to_status
        cross join lateral ourvidz.evolve(j, e) as evolved
        -- Only a front end's job has metadata of its own.
        cross join lateral (select e.type in ('completed', 'failed', 'cancelled', 'retried') and j.metadata <> '{}' as turns) as it
      where e.version = j.version + 1 and e.prev_hash = j.head_hash and e.from_status = j.status
        and e.submitted_on = j.submitted_on
        and (t.before = 'any' or (t.before = 'held') = (j.executor_id is not null))
        and e.claim_no is not distinct from
              case when e.type = 'claimed' then j.claim_no + 1 when j.executor_id is not null then j.claim_no end
        and not (e.type = 'retried' and (j.final or j.hidden))
        and (e.type not in ('linked', 'removed') or ourvidz.may_change_library(j, e.type, e.data))
        and (e.type <> 'rerouted' or ourvidz.may_reroute(j.job_type, e.data))
        and e.occurred_at between j.updated_at and greatest(v_now, j.updated_at)
        and e.data - t.keys = '{}'
        and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,
                                        e.claim_no, e.actor, e.occurred_at, e.data)
    ) as n
    where target.id = any (array[n.id]);
    get diagnostics v_rows = row_count;
    v_applied := v_applied + v_rows;
  end if;
  if v_applied <> v_fresh then
    perform ourvidz.refuse_event(e.job_id, e.version, e.type, e.from_status, e.to_status, e.claim_no, e.data)
    from fresh as e left join public.jobs as j on j.id = e.job_id
    where j.id is null or j.head_hash <> e.hash;
    raise exception 'Two events of one job came in one statement; write them one after the other.' using errcode = 'OV005';
  end if;
  if v_followed then
    perform ourvidz.run_projections((select array_agg(row(e.*)::public.job_events) from fresh as e));
  elsif v_started and exists (select from ourvidz.receivers where enabled and 'processing' = any (events)) then
    perform ourvidz.outbox_follow((select array_agg(row(e.*)::public.job_events) from fresh as e));
  end if;
  -- After the hold, which waits for the profile's lock: changes made meanwhile are seen here (ourvidz.may_run).
  if v_works then
    perform ourvidz.refuse_unverified(user_id)
    from (select distinct j.user_id from fresh as e cross join lateral (select user_id from public.jobs where id = e.job_id limit 1) as j
          where e.type = any (ourvidz.events_needing_permission())) as worked_for
    where not ourvidz.may_run(user_id);
  end if;
  if v_live and exists (select from pg_proc where proname = 'send' and pronamespace = (select oid from pg_namespace where nspname = 'realtime')) then
    perform ourvidz.live_follow((select array_agg(row(e.*)::public.job_events) from fresh as e));
  end if;
  return null;
end
$$;
