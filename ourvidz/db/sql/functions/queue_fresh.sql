-- Writes the `submitted` events (whose trigger makes the rows), the payloads, and wakes who sleeps. Internal; called by submit_batch.
create or replace function ourvidz.queue_fresh(p_fresh ourvidz.asked_job[], p_now timestamptz, p_actor text) returns void
language plpgsql
as $$
declare
  v_zero constant bytea := decode(repeat('00', 32), 'hex');
  v_salts bytea[];
begin
  select array_agg(sha256(convert_to(gen_random_uuid()::text, 'UTF8'))) into v_salts from unnest(p_fresh);

  with groups as materialized (
    select user_id, lane, count(*) as jobs from unnest(p_fresh) group by user_id, lane order by user_id, lane
  ), entries as materialized (
    select g.user_id, g.lane, r.start, r.step from groups as g cross join lateral ourvidz.next_rank(g.user_id, g.lane, g.jobs) as r
  ), born as (
    select a.*, e.start + e.step * (row_number() over (partition by a.user_id, a.lane order by a.ord) - 1)
                  + ourvidz.head_start(a.priority) as rank,
           encode(sha256(v_salts[a.n] || a.body_digest), 'hex') as digest
    from (select f.*, row_number() over () as n from unnest(p_fresh) as f) as a
    join entries as e on e.user_id = a.user_id and e.lane = a.lane
  ), facts as (
    select b.id, jsonb_strip_nulls(jsonb_build_object(
      'user_id', b.user_id, 'job_type', b.job_type, 'lane', b.lane, 'priority', b.priority, 'rank', b.rank,
      'run_at', greatest(b.run_at, p_now), 'project_id', b.project_id, 'video_id', b.video_id, 'image_id', b.image_id,
      'digest', b.digest, 'price', ourvidz.price_of(b.job_type, b.settings))) as data
    from born as b
  )
  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select (p_now at time zone 'UTC')::date, f.id, 1, 'submitted', 'queued', p_actor, p_now, f.data, v_zero,
         ourvidz.event_hash(v_zero, f.id, 1, 'submitted', null, 'queued', null, p_actor, p_now, f.data)
  from facts as f;

  insert into public.job_payloads (job_id, user_id, prompt, negative_prompt, settings, metadata, salt, body_digest, idempotency_key)
  select a.id, a.user_id, a.prompt, a.negative_prompt,
         case when a.settings ? 'seed' then a.settings
              else a.settings || jsonb_build_object('seed', floor(random() * 4294967296)::bigint) end,
         a.metadata, v_salts[a.n], a.body_digest, a.idempotency_key
  from (select f.*, row_number() over () as n from unnest(p_fresh) as f) as a;

  perform ourvidz.wake(lane, jobs)
  from (select a.lane, count(*) as jobs from unnest(p_fresh) as a where coalesce(a.run_at, p_now) <= p_now group by a.lane) as lanes;
end
$$;
