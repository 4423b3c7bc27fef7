-- Returns one job's texts to an admin, who gives a reason; the read is recorded. Only the owner reads them from job_payloads directly.
create or replace function public.read_prompt(job_id uuid, reason text) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('read_prompt', jsonb_build_object('job_id', read_prompt.job_id, 'reason', read_prompt.reason))
$$;

create or replace function ourvidz.api_read_prompt(p jsonb) returns jsonb
language plpgsql
as $$
begin
  if not (select admin or role = 'service_role' from ourvidz.caller()) then
    raise exception 'Only an admin may do this.' using errcode = 'OV017';
  elsif coalesce(length(trim(p->>'reason')), 0) not between 1 and 200 then
    raise exception 'reason says why you read it, in 1 to 200 characters.' using errcode = 'OV009', column = 'reason';
  end if;
  return ourvidz.read_text((p->>'job_id')::uuid, ourvidz.actor(), p->>'reason');
end
$$;

-- Records the read of a job's texts and returns them. `ourvidz jobs show` calls it too.
create or replace function ourvidz.read_text(p_job uuid, p_actor text, p_reason text) returns jsonb
language plpgsql
as $$
declare
  t public.job_payloads;
begin
  select * into t from public.job_payloads where job_id = p_job;
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  end if;
  insert into ourvidz.text_reads (at, actor, job_id, user_id, reason) values (ourvidz.now(), p_actor, p_job, t.user_id, trim(p_reason));
  return jsonb_build_object('job_id', t.job_id, 'prompt', t.prompt, 'negative_prompt', t.negative_prompt, 'enhanced_prompt', t.enhanced_prompt,
                            'error_message', t.error_message, 'metadata', t.metadata);
end
$$;

-- Logs that an admin reads other users' rows that hold text. A read request may not write, so this goes to Postgres's own log: who, which
-- table, which URL path. Once per statement: the policies call it in a subquery.
create or replace function ourvidz.admin_reads(p_table text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  raise log 'ourvidz: admin % reads %: % %', coalesce((select user_id::text from ourvidz.caller()), 'unknown'), p_table,
    coalesce(current_setting('request.method', true), ''), coalesce(left(current_setting('request.path', true), 200), '');
  return true;
end
$$;
