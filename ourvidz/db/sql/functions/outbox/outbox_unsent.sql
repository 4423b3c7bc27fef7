-- Records a failed try and schedules the next, or none. 410 means that nobody is there any more, and so do five messages in a row that ran
-- out of tries: the receiver is then disabled until a person looks. p_attempts: their number when the message was taken; a report overtaken
-- by another one is dropped. p_wait: seconds that the receiver asked for. Returns retry, dead or overtaken.
create or replace function ourvidz.outbox_unsent(p_message uuid, p_attempts integer, p_status integer, p_error text, p_wait double precision)
returns text
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_delay constant double precision := (ourvidz.outbox_delays())[p_attempts + 1];
  v_gone constant boolean := coalesce(p_status = 410, false);
  v_dead constant boolean := v_gone or v_delay is null;
  v_receiver text;
begin
  update ourvidz.outbox
  set attempts = attempts + 1, last_status = p_status, last_error = left(p_error, 300),
      dead_at = case when v_dead then v_now end,
      -- Jitter both ways. The receiver's wait is honoured, up to an hour.
      next_at = v_now + make_interval(secs => greatest(coalesce(v_delay, 0) * (0.85 + 0.3 * random()), least(coalesce(p_wait, 0), 3600)))
  where id = p_message and attempts = p_attempts and delivered_at is null and dead_at is null
  returning receiver into v_receiver;
  if not found then
    return 'overtaken';
  elsif not v_dead then
    return 'retry';
  end if;
  update ourvidz.receivers
  set exhausted = exhausted + (not v_gone)::integer,
      enabled = enabled and not v_gone and exhausted + 1 < 5,
      disabled_at = case when v_gone or exhausted + 1 >= 5 then coalesce(disabled_at, v_now) else disabled_at end,
      disabled_reason = case when not enabled then disabled_reason
                             when v_gone then 'it answered 410 Gone'
                             when exhausted + 1 >= 5 then format('%s messages in a row could not be delivered', exhausted + 1)
                             else disabled_reason end
  where name = v_receiver;
  return 'dead';
end
$$;
