-- Counts how attempts ended within the last span, among the newest events: reads at most %(most)s of them, however long the history.
-- `seen_s` is the part of the span that they cover.
select count(*) filter (where type = 'completed')::int as completed, count(*) filter (where type = 'failed')::int as failed,
       count(*) filter (where type = 'cancelled')::int as cancelled,
       count(*) filter (where type in ('retry_scheduled', 'lease_expired'))::int as retried,
       case when count(*) < %(most)s then %(span_s)s::float8
            else extract(epoch from ourvidz.now() - min(occurred_at))::float8 end as seen_s
from (
  select type, occurred_at from public.job_events order by xid desc, seq desc limit %(most)s
) as newest
where occurred_at > ourvidz.now() - make_interval(secs => %(span_s)s)
