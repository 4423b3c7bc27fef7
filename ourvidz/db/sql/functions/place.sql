-- A job's place in its lane's order (1: next; null: it does not wait for an executor), and the seconds until it should be done: null
-- where no live executor serves the lane, or none of its jobs ended lately. Counts 10,000 at most: further back a number says nothing.
create or replace function ourvidz.place(j public.jobs, out n bigint, out eta float8)
language plpgsql stable
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_each float8;
  v_hands bigint;
begin
  if j.ready then
    select count(*) + 1 into n
    from (select from public.jobs as o where o.ready and o.lane = j.lane and (o.rank, o.run_at) < (j.rank, j.run_at) limit 10000) as before;
  end if;
  if j.completed_at is not null then
    return;
  end if;
  select count(*) into v_hands from ourvidz.executors where state = 'active' and j.lane = any (lanes) and lease_until > v_now;
  -- Of the newest events alone: however long the history, this reads as much.
  select avg(extract(epoch from done.occurred_at - claimed.occurred_at)) into v_each
  from (select * from public.job_events order by xid desc, seq desc limit 2000) as done
  join public.jobs as ended on ended.id = done.job_id and ended.lane = j.lane
  join public.job_events as claimed on claimed.job_id = done.job_id and claimed.type = 'claimed' and claimed.claim_no = done.claim_no
  where done.type = 'completed';
  eta := case when v_hands = 0 then null
              when n is not null then v_each * (ceil(n::float8 / v_hands))
              when j.claimed_at is not null then greatest(v_each - extract(epoch from v_now - j.claimed_at), 1) end;
end
$$;
