-- Writes the usage report: a row for each time a job was queued or ended, with what that cost. It only repeats events and token entries for
-- readers of usage_logs; the sum of tokens_consumed is what was captured. Called after ledger_follow.
create or replace function ourvidz.usage_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
  insert into public.usage_logs (user_id, action, format, quality, tokens_consumed, metadata, created_at, job_id, job_version)
  select j.user_id, told.action, case when kind.video then 'video' else 'image' end, case when kind.fast then 'fast' else 'high' end,
         moved.captured, jsonb_strip_nulls(jsonb_build_object('job_type', j.job_type, 'held', moved.held, 'refunded', moved.refunded)),
         e.occurred_at, e.job_id, e.version
  from unnest(p_events) as e
  join (values ('submitted', 'job_queued'), ('retried', 'job_queued'), ('completed', 'job_completed'), ('failed', 'job_failed'),
               ('cancelled', 'job_cancelled')) as told (type, action) on told.type = e.type
  cross join lateral (select user_id, job_type from public.jobs where id = e.job_id limit 1) as j
  join ourvidz.job_types as kind on kind.name = j.job_type
  cross join lateral (
    select coalesce(sum(amount) filter (where kind = 'capture'), 0) as captured, sum(-amount) filter (where kind = 'hold') as held,
           sum(amount) filter (where kind = 'release') as refunded
    from ourvidz.token_entries where job_id = e.job_id and job_version = e.version and account in ('available', 'revenue')
  ) as moved
  where (select id from public.profiles where id = j.user_id) is not null;  -- a deleted profile has no report
end
$$;
