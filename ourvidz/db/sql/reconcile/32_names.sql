-- Refuses the migration if somebody else's object in schema public has a name that this program needs.
create or replace function pg_temp.plan_names() returns void language plpgsql as $$
declare
  o record;
begin
  for o in
    select c.relname as name from pg_class as c
    where c.relnamespace = 'public'::regnamespace and to_regclass('ourvidz.executors') is null
      and c.relname in ('job_payloads', 'job_events', 'artifacts', 'consents', 'job_timeline', 'queue_depth', 'job_durations')
    order by 1
  loop
    perform pg_temp.refuse('public.' || o.name, 'this program makes an object of that name', format('rename it: alter table public.%I rename to …', o.name));
  end loop;
  -- A function can be replaced if its arguments and its result are the same; has_role is the legacy system's own.
  for o in
    select p.oid::regprocedure::text as name, p.proargnames, p.prorettype::regtype::text as result
    from pg_proc as p
    where p.pronamespace = 'public'::regnamespace and to_regclass('ourvidz.executors') is null
      and (p.proname in ('queue_job', 'cancel_job', 'retry_job', 'approve_preview', 'job_status', 'attest_consent', 'withdraw_consent', 'ask_enhancement', 'enhancement', 'age_status', 'request_age_review', 'verify_age', 'age_message', 'report_refusal', 'read_prompt',
                         'request_bytes', 'file_report', 'my_restrictions', 'appeal', 'report_queue', 'moderate', 'before_request', 'job_types')
           or p.proname = 'has_role'
              and (p.pronargs, p.proargtypes[1], p.proargnames::text[], p.prorettype)
                  is distinct from (2::smallint, to_regtype('public.app_role')::oid, '{_user_id,_role}'::text[], 'boolean'::regtype::oid))
    order by 1
  loop
    perform pg_temp.refuse('function ' || o.name, 'this program makes a function of that name, with other arguments or another result', format('drop function public.%s (and what leans on it)', o.name));
  end loop;
  for o in
    select p.oid::regprocedure::text as name from pg_proc as p
    where p.pronamespace = 'public'::regnamespace and p.proname = 'has_role' and p.pronargs = 2 and p.proargnames = '{_user_id,_role}'
      and to_regclass('ourvidz.executors') is null
  loop
    perform pg_temp.step(9, 'function public.' || o.name, 'replaced: who is an admin, the caller''s token says', null);
  end loop;
end
$$;

-- Checks the enum of roles for the two labels that are written. A new label of an enum may not be used before it is committed.
create or replace function pg_temp.plan_roles() returns void language plpgsql as $$
declare
  v_word text;
  v_kind "char" := (select typtype from pg_type where oid = to_regtype('public.app_role'));
begin
  if v_kind is null then
    perform pg_temp.step(3, 'type public.app_role', 'made', 'create type public.app_role as enum (''admin'', ''moderator'', ''premium_user'', ''basic_user'', ''guest'')');
    create type public.app_role as enum ('admin', 'moderator', 'premium_user', 'basic_user', 'guest');  -- undone with the trials
    return;
  elsif v_kind <> 'e' then
    perform pg_temp.refuse('type public.app_role', 'it is not an enum', 'rename it: alter type public.app_role rename to …');
    return;
  end if;
  foreach v_word in array '{admin,basic_user}'::text[] loop
    if not exists (select from pg_enum where enumtypid = 'public.app_role'::regtype and enumlabel = v_word) then
      perform pg_temp.refuse('type public.app_role', format('it has no word "%s"', v_word), format('alter type public.app_role add value %L', v_word));
      delete from our_writes where relation = 'user_roles' and sample = v_word;  -- already reported
    end if;
  end loop;
end
$$;
