-- Stops all unfinished jobs of a user: waiting ones are cancelled, those that executors hold are asked to stop, which they do at their next
-- step. Returns how many it stopped now. Idempotent. `reason` is one word (age | suspended); `actor` as in events.
-- Does not wait for a job whose row is locked, but leaves it to the reaper: its holder may want the profile that our caller has just
-- changed. Until then ourvidz.may_run keeps it from being claimed or taken a step further.
create or replace function ourvidz.stop_jobs(user_id uuid, reason text, actor text) returns integer
language plpgsql
as $$
#variable_conflict use_column
declare
  v_user constant uuid := $1;
  j record;
  v_waiting uuid[] := '{}';
  v_held uuid[] := '{}';
begin
  perform ourvidz.check_word(reason, 'reason');
  insert into ourvidz.stops (user_id, reason, actor, asked_at) values (v_user, $2, $3, ourvidz.now())
  on conflict (user_id) do update set reason = excluded.reason, actor = excluded.actor, asked_at = excluded.asked_at;
  for j in
    select id, executor_id from public.jobs as unfinished
    where unfinished.user_id = v_user and completed_at is null and not cancel_requested order by id for update skip locked
  loop
    if j.executor_id is null then
      v_waiting := v_waiting || j.id;
    else
      v_held := v_held || j.id;
      perform pg_notify('ourvidz', j.executor_id::text);
    end if;
  end loop;
  if v_waiting <> '{}' then
    perform ourvidz.append(v_waiting, 'cancelled', array_fill(jsonb_build_object('reason', $2), array[cardinality(v_waiting)]), $3);
  end if;
  if v_held <> '{}' then
    perform ourvidz.append(v_held, 'cancel_requested', array_fill(jsonb_build_object('reason', $2), array[cardinality(v_held)]), $3);
  end if;
  -- Nobody wants an answer any more: the enhancer finds its request gone.
  delete from ourvidz.enhancement_requests where enhancement_requests.user_id = v_user;
  return cardinality(v_waiting) + cardinality(v_held);
end
$$;

-- Repeats stop_jobs for up to p_limit users who had a job that was locked at the time. Called by the reaper.
create or replace function ourvidz.stop_remaining(p_limit integer default 20) returns void
language plpgsql
as $$
declare
  s ourvidz.stops;
begin
  for s in select * from ourvidz.stops order by user_id limit p_limit for update skip locked loop
    if not ourvidz.may_run(s.user_id) then
      perform ourvidz.stop_jobs(s.user_id, s.reason, s.actor);
      continue when exists (select from public.jobs where user_id = s.user_id and completed_at is null and not cancel_requested);
    end if;
    delete from ourvidz.stops where user_id = s.user_id;
  end loop;
end
$$;
