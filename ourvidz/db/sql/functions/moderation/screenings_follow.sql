-- Records an executor's refusal in screenings too, for counting and for those who must show what the screens did.
create or replace function ourvidz.screenings_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
  insert into ourvidz.screenings (at, user_id, job_id, stage, allowed, policy_version, category, rule_id, digest)
  select e.occurred_at, j.user_id, e.job_id, coalesce(e.data->>'stage', 'prompt'), false, e.data->>'policy_version', e.data->>'category',
         e.data->>'rule_id', e.data->>'digest'
  from unnest(p_events) as e
  cross join lateral (select user_id from public.jobs where id = e.job_id limit 1) as j
  where e.type = 'failed' and e.data ? 'policy_version';
end
$$;
