-- Returns why nothing is made of a job because of its user, and what happens next: {reason, next}; null if nothing prevents it. For a
-- waiting job, and for one that was stopped.
create or replace function ourvidz.waits_for(j public.jobs) returns jsonb
language plpgsql stable
as $$
declare
  v_why text;
  v_age jsonb;
begin
  if j.completed_at is not null and not (j.status = 'cancelled' and exists (
       select from public.job_events as e where e.job_id = j.id and e.type in ('cancelled', 'cancel_requested') and e.data ? 'reason')) then
    return null;
  end if;
  v_why := ourvidz.why_not_run(j.user_id);
  if v_why is null then
    return case when j.completed_at is not null
                then jsonb_build_object('reason', 'stopped', 'next', 'The job was stopped, and can be made again: retry it.') end;
  elsif v_why in ('unverified', 'expired') then
    v_age := ourvidz.age_of(j.user_id);
    return jsonb_build_object('reason', 'age_' || (v_age->>'status'), 'next', v_age->'next', 'page', (select help_url || '#age' from ourvidz.policy));
  end if;
  return jsonb_build_object('reason', v_why, 'next', case v_why when 'suspended' then 'Your account is suspended. You may appeal once.'
                                                     else 'No job is made for this user.' end);
end
$$;
