-- Claims up to p_limit claimable jobs of a lane in its order: locks them and writes `claimed` for each, in one statement. With p_overdue,
-- jobs that were ready before it come first. A job that killed its last executor goes to another one if there is one. A job whose user may
-- have none made (any more) is skipped: one look-up by key for each job that would be taken.
create or replace function ourvidz.claim_from_lane(
  p_executor uuid, p_name text, p_lane text, p_limit integer, p_overdue timestamptz, p_now timestamptz
) returns uuid[]
language plpgsql
set enable_sort = off  -- use the index that gives the order, even if statistics say that few jobs wait
as $$
declare
  v_jobs uuid[];
begin
  with alone as materialized (
    select not exists (select from ourvidz.executors
                       where state = 'active' and called <> p_name and p_lane = any (lanes) and lease_until > p_now) as yes
  ), overdue as (
    select * from public.jobs
    where p_overdue is not null and ready and lane = p_lane and run_at < p_overdue
      and (crashed_on is distinct from p_name or (select yes from alone))
      and ourvidz.may_run(user_id)
    order by run_at limit p_limit for update skip locked
  ), in_order as (
    select * from public.jobs
    where ready and lane = p_lane and (p_overdue is null or run_at >= p_overdue)
      and (crashed_on is distinct from p_name or (select yes from alone))
      and ourvidz.may_run(user_id)
    order by rank, run_at limit p_limit for update skip locked
  ), picked as materialized (  -- row by row, so that nothing is locked beyond the limit
    (select * from overdue union all select * from in_order) limit p_limit
  ), claimed as (
    insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                   prev_hash, hash)
    select next.*
    from picked
    cross join lateral (
      select jsonb_build_object('executor_id', p_executor, 'executor', p_name, 'deadline', ourvidz.utc_text(p_now + make_interval(secs => time_limit))) as data
      from ourvidz.job_types where name = picked.job_type limit 1
    ) as told
    cross join lateral ourvidz.next_event(row(picked.*)::public.jobs, 'claimed', told.data, 'executor:' || p_name, p_now) as next
    returning job_id
  )
  select array_agg(job_id) into v_jobs from claimed;
  return v_jobs;
end
$$;
