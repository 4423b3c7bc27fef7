-- Queues a job for the caller. A repeated idempotency key with the same request returns the same job and is not rate-limited.
create or replace function ourvidz.api_queue_job(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_me record;
  v_key constant text := p->>'idempotency_key';
  v_dry constant boolean := coalesce((p->>'dry_run')::boolean, false);
begin
  select * into v_me from ourvidz.caller();
  if v_me.user_id is null then
    raise exception 'Nobody is signed in: a job is asked for by a user.'
      using errcode = 'OV017', hint = 'Send the user''s own JWT. (An operator''s own connection calls ourvidz.submit_batch.)';
  elsif length(v_key) not between 1 and 200 then
    raise exception 'An idempotency key has 1 to 200 characters.' using errcode = 'OV009', column = 'idempotency_key';
  end if;
  p := p - 'dry_run' || jsonb_build_object('user_id', v_me.user_id, 'request', p - 'dry_run');
  if v_dry then
    return ourvidz.submit(p, 'rpc', true);
  end if;
  perform ourvidz.lock_user_submissions(v_me.user_id);
  if not exists (select from public.job_payloads where user_id = v_me.user_id and idempotency_key = v_key) then
    perform ourvidz.check_pace(v_me.user_id);
  end if;
  return ourvidz.submit(p, 'rpc');
end
$$;
