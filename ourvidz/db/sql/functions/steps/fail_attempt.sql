-- Decides what follows a failed attempt of a job whose row is locked: cancelled if that was requested (a screen's final refusal stays one),
-- another attempt while any are left, else failed. Internal: called by fail and reap. Returns the event's type.
create or replace function ourvidz.fail_attempt(
  j public.jobs, p_class text, p_retryable boolean, p_actor text, p_more jsonb default '{}'
) returns text
language plpgsql
as $$
declare
  v_at constant timestamptz := ourvidz.now();
  v_event text;
  v_data jsonb;
begin
  if j.cancel_requested and not coalesce((p_more->>'final')::boolean, false) then
    v_event := 'cancelled';
    v_data := '{}';
  elsif p_retryable and j.errors + 1 < (select max_attempts from ourvidz.policy) then
    v_event := 'retry_scheduled';
    v_data := jsonb_build_object('class', p_class, 'run_at', ourvidz.utc_text(v_at + ourvidz.backoff(j.errors + 1, j.job_type)));
  else
    v_event := 'failed';
    v_data := jsonb_build_object('class', p_class) || p_more;
  end if;
  perform ourvidz.append(array[j.id], v_event, array[v_data], p_actor);
  return v_event;
end
$$;
