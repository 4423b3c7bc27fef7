-- Takes away what a user wrote, and what points to what was made of it; events and figures stay, and the chain verifies. How many rows of
-- each. p_try: nothing is changed, and unfinished jobs are no hindrance. Again, it finds nothing left.
create or replace function ourvidz.erase_words(p_user uuid, p_try boolean default false) returns jsonb
language plpgsql
as $$
declare
  v_older bigint := 0;
  v_counts jsonb;
begin
  perform ourvidz.erase_lock(p_user);
  if not p_try and exists (select from public.jobs where user_id = p_user and completed_at is null) then
    raise exception 'User % has unfinished jobs: their words are still needed.', p_user using errcode = 'OV001', hint = 'Cancel them first.';
  end if;
  begin
    if to_regclass('ourvidz.older_jobs') is not null then
      execute 'delete from ourvidz.older_jobs as o where to_jsonb(o)->>''user_id'' = $1::text' using p_user;
      get diagnostics v_older = row_count;
    end if;
    v_counts := ourvidz.erase_rows(p_user) || jsonb_build_object('older_jobs', v_older);
    if p_try then
      raise exception using errcode = 'OV000';
    end if;
    perform ourvidz.erase_count(p_user, v_counts);
  exception when sqlstate 'OV000' then
    null;  -- undone; what was counted is not
  end;
  return v_counts;
end
$$;

create or replace function ourvidz.erase_rows(p_user uuid) returns jsonb
language sql
as $$
  with theirs as materialized (
    select id from public.jobs where user_id = p_user
  ), payloads as (
    -- A new salt: digests in the events were made with one that nobody has any more.
    update public.job_payloads
    set prompt = '', negative_prompt = null, enhanced_prompt = null, error_message = null, settings = '{}', metadata = '{}',
        idempotency_key = null, salt = ourvidz.salt(), body_digest = ourvidz.salt(), erased_at = ourvidz.now()
    where user_id = p_user and erased_at is null returning 1
  ), job_columns as (
    update public.jobs set metadata = null, error_message = null
    where user_id = p_user and (metadata is not null or error_message is not null) returning 1
  ), pictures as (
    delete from public.artifacts where job_id in (select id from theirs) returning 1
  ), scenes as (
    delete from public.videos where user_id = p_user returning 1
  ), films as (
    delete from public.projects where user_id = p_user returning 1
  ), people as (
    delete from public.characters where user_id = p_user returning 1
  ), consent as (
    delete from public.consents where user_id = p_user returning 1
  ), usage as (
    -- Those that clients wrote. What events wrote holds figures alone.
    update public.usage_logs set action = 'erased', format = null, quality = null, metadata = '{}'
    where user_id = p_user and job_id is null
      and (action <> 'erased' or metadata is distinct from '{}' or num_nonnulls(format, quality) > 0) returning 1
  ), asked as (
    delete from ourvidz.enhancement_requests where user_id = p_user returning 1
  ), messages as (
    delete from ourvidz.outbox where job_id in (select id from theirs) returning 1
  ), taken_in as (
    update ourvidz.intake_messages set digest = ourvidz.salt() where message_id in (select id from theirs) returning 1
  ), refused as (
    update ourvidz.screenings set digest = null, salt = null where user_id = p_user and num_nulls(digest, salt) < 2 returning 1
  )
  select jsonb_build_object(
    'prompts', (select count(*) from payloads), 'job_metadata', (select count(*) from job_columns),
    'artifacts', (select count(*) from pictures), 'videos', (select count(*) from scenes), 'projects', (select count(*) from films),
    'characters', (select count(*) from people), 'consents', (select count(*) from consent), 'usage_logs', (select count(*) from usage),
    'enhancement_requests', (select count(*) from asked), 'outbox', (select count(*) from messages), 'refusal_digests', (select count(*) from refused))
$$;
