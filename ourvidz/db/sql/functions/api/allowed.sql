-- Returns what a person may do next to a job in this state, by the transition table: same result and order as state.machine.allowed.
create or replace function ourvidz.allowed(
  p_status text, p_held boolean, p_final boolean, p_cancel_requested boolean, p_fallback boolean, p_preview boolean
) returns text[]
language sql stable
as $$
  select array(
    select verb
    from (values (1, 'cancel', '{cancelled,cancel_requested}'::text[], not p_cancel_requested), (2, 'retry', '{retried}', not p_final),
                 (3, 'reroute', '{rerouted}', p_fallback), (4, 'reprioritise', '{reprioritised}', true)) as v (n, verb, events, stands)
    where stands and exists (select from ourvidz.transitions as t where t.event = any (v.events) and t.source = p_status
                             and (t.before = 'any' or (t.before = 'held') = p_held))
    order by n) || case when p_preview and p_status = 'completed' then '{approve}'::text[] else '{}' end
$$;

-- Returns the same for a job and the current caller: users and admins have no rpc to reroute or reprioritise; operators have.
create or replace function ourvidz.allowed_next(j public.jobs) returns text[]
language sql stable
as $$
  select array(
    select verb from unnest(ourvidz.allowed(
      j.status, j.executor_id is not null, j.final, j.cancel_requested,
      (select fallback is not null from ourvidz.job_types where name = j.job_type), ourvidz.awaits_approval(j.id))) with ordinality as a (verb, n)
    where (ourvidz.caller()).role is null or verb in ('cancel', 'retry', 'approve') order by n)
$$;

-- Returns whether a job is a scene's preview that may be approved: no final video of it exists or is in progress.
create or replace function ourvidz.awaits_approval(p_job uuid) returns boolean
language sql stable
as $$
  select exists (select from public.videos as v where v.preview_job_id = p_job and (
    v.approved_at is null or exists (select from public.jobs as f where f.id = v.video_job_id and f.status in ('failed', 'cancelled'))))
$$;
