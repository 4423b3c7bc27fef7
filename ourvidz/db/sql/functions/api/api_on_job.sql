-- rpcs on an existing job: the caller's own, or anyone's for an admin and the service key. Another user's job is answered as missing.
create or replace function ourvidz.api_cancel_job(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_done text;
begin
  perform ourvidz.check_job_access(p->>'job_id');
  v_done := ourvidz.cancel((p->>'job_id')::uuid, (p->>'version')::integer);
  return ourvidz.job_view((p->>'job_id')::uuid) || jsonb_build_object('done', v_done);
end
$$;

create or replace function ourvidz.api_retry_job(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_user constant uuid := ourvidz.check_job_access(p->>'job_id');
begin
  perform ourvidz.lock_user_submissions(v_user);
  perform ourvidz.check_unfinished(v_user, 1);
  perform ourvidz.check_retries(v_user);
  perform ourvidz.retry((p->>'job_id')::uuid, (p->>'version')::integer, null, coalesce((p->>'charge')::boolean, false));
  return ourvidz.job_view((p->>'job_id')::uuid)
      || jsonb_build_object('balance', (select token_balance from public.profiles where id = v_user));
end
$$;

create or replace function ourvidz.api_job_status(p jsonb) returns jsonb
language plpgsql
as $$
begin
  perform ourvidz.check_job_access(p->>'job_id');
  return ourvidz.job_view((p->>'job_id')::uuid);
end
$$;

-- Returns the job's user if the caller may act on the job; otherwise refuses it as missing.
create or replace function ourvidz.check_job_access(p_job text) returns uuid
language plpgsql stable
as $$
declare
  v_me record;
  v_user uuid;
begin
  select * into v_me from ourvidz.caller();
  select user_id into v_user from public.jobs where id = p_job::uuid
    and (v_me.role is null or v_me.role = 'service_role' or v_me.admin or user_id = v_me.user_id and not hidden);
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  end if;
  return v_user;
end
$$;
