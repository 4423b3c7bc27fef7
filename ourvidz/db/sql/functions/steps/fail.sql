-- Ends an attempt with an error. Policy decides what follows; returns that event: retry_scheduled, failed or cancelled.
-- p_final: no retry may follow, not even by a person (a safety refusal). The message is kept in the payload, for people.
create or replace function ourvidz.fail(
  p_job uuid, p_claim bigint, p_token uuid, p_class text, p_message text, p_retryable boolean default true, p_final boolean default false,
  p_verdict jsonb default '{}'
) returns text
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  perform ourvidz.check_word(p_class, 'class');
  if not ourvidz.matches_kind(to_jsonb(p_class), (select kinds->'class' from ourvidz.event_types where name = 'failed')) then
    p_message := p_class || ': ' || p_message;  -- a third-party executor's class: kept where people read it
    p_class := 'unexpected';
  end if;
  select * into j from public.jobs where id = p_job;
  update public.job_payloads set error_message = left(p_message, 2000) where job_id = p_job;
  if p_verdict <> '{}' then
    -- A refusal is recorded with the salted hash of the text or of a picture's sha256, never with the text or the picture.
    select p_verdict - 'sha256' || jsonb_build_object('digest', encode(sha256(salt || coalesce(
      decode(p_verdict ->> 'sha256', 'hex'), convert_to(coalesce(enhanced_prompt, prompt), 'UTF8'))), 'hex'))
    into p_verdict from public.job_payloads where job_id = p_job;
    p_verdict := ourvidz.verdict(p_verdict);
  end if;
  return ourvidz.fail_attempt(j, p_class, p_retryable and not p_final, 'executor',
                              p_verdict || case when p_final then '{"final": true}'::jsonb else '{}' end);
end
$$;

-- Returns a screen's verdict as an event may hold it. A screen that this program does not ship has its own names: its category becomes
-- `image`, and digests replace its version and rule.
create or replace function ourvidz.verdict(p jsonb) returns jsonb
language sql stable
as $$
  select p || jsonb_strip_nulls(jsonb_build_object(
    'category', case when not ourvidz.matches_kind(p->'category', kinds->'category') then 'image' else p->>'category' end,
    'policy_version', case when not ourvidz.matches_kind(p->'policy_version', kinds->'policy_version')
                           then 'image-' || left(encode(sha256(convert_to(p->>'policy_version', 'UTF8')), 'hex'), 8) else p->>'policy_version' end,
    'rule_id', case when not ourvidz.matches_kind(p->'rule_id', kinds->'rule_id')
                    then 'image-' || left(encode(sha256(convert_to(p->>'rule_id', 'UTF8')), 'hex'), 8) else p->>'rule_id' end))
  from ourvidz.event_types where name = 'failed'
$$;
