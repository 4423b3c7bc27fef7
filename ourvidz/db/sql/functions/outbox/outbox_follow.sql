-- Writes a message for each receiver that subscribes to an event: a job's end, or the first step of an attempt (`processing`).
create or replace function ourvidz.outbox_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
  insert into ourvidz.outbox (receiver, job_id, job_version, status, created_at, next_at)
  select r.name, told.job_id, told.version, told.word, told.occurred_at, told.occurred_at
  from (select e.job_id, e.version, e.occurred_at,
               case when e.type in ('completed', 'failed', 'cancelled') then e.type
                    when e.from_status = 'queued' and e.to_status in ('enhancing', 'generating') then 'processing' end as word
        from unnest(p_events) as e) as told
  join ourvidz.receivers as r on r.enabled and told.word = any (r.events);
end
$$;
