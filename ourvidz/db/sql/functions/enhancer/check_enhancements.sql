-- Refuses a request for an enhanced prompt if no enhancer runs or too many requests wait to be answered in time (OV030), or if the user is
-- over a limit: three waiting, twenty a minute (OV016).
create or replace function ourvidz.check_enhancements(p_user uuid) returns void
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_since timestamptz;
  v_wait integer;
begin
  perform ourvidz.lock_user_submissions(p_user);
  perform ourvidz.enhance_expire();
  if not exists (select from ourvidz.enhancers where beat_at > v_now - interval '20 s') then
    raise exception 'No enhancer is running, so the prompt cannot be enhanced now.'
      using errcode = 'OV030', hint = 'Use the prompt as it is, or try again later.';
  elsif (select count(*) >= 30 from ourvidz.enhancement_requests
         where enhanced is null and failed is null and asked_at > v_now - ourvidz.enhance_patience()) then
    raise exception 'Too many prompts wait to be enhanced.' using errcode = 'OV030', hint = 'Use the prompt as it is, or try again later.';
  end if;
  select asked_at into v_since from ourvidz.enhancement_requests where user_id = p_user order by asked_at desc offset 19 limit 1;
  if v_since > v_now - interval '1 minute' then
    v_wait := ceil(extract(epoch from v_since + interval '1 minute' - v_now));
    raise exception 'More than 20 prompts within a minute: try again in % s.', v_wait
      using errcode = 'OV016', detail = format('Retry after %s s.', v_wait);
  elsif (select count(*) >= 3 from ourvidz.enhancement_requests
         where user_id = p_user and enhanced is null and failed is null and asked_at > v_now - ourvidz.enhance_patience()) then
    raise exception 'Three of your prompts wait to be enhanced already: try again in 5 s.'
      using errcode = 'OV016', detail = 'Retry after 5 s.';
  end if;
end
$$;

-- Returns how long a user waits for an answer (the edge function's timeout): older requests are not taken any more.
create or replace function ourvidz.enhance_patience() returns interval
language sql immutable parallel safe
as $$ select interval '20 s' $$;

-- Deletes requests after five minutes. Called wherever they are written, and by the reaper.
create or replace function ourvidz.enhance_expire() returns void
language sql
as $$
  delete from ourvidz.enhancement_requests where id = any (array(  -- as in promote
    select id from ourvidz.enhancement_requests where asked_at <= (select ourvidz.now() - interval '5 minutes') limit 1000 for update skip locked));
  delete from ourvidz.enhancers where beat_at <= (select ourvidz.now() - interval '1 day')
$$;

-- Refuses unverified users: a model gets only verified users' texts. The lock makes an erasure wait, which then deletes this text too.
create or replace function ourvidz.check_verified(p_user uuid) returns void
language plpgsql
as $$
begin
  perform ourvidz.lock_verified(array[p_user]);
  if not ourvidz.may_run(p_user) then
    perform ourvidz.refuse_unverified(p_user);
  end if;
end
$$;
