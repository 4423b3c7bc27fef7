-- A user's age: asked for by the user, decided by an operator or a provider's webhook (with the service's own login), each decision kept.
create or replace function public.age_status() returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.answer('age_status', '{}') $$;

create or replace function public.request_age_review() returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.answer('request_age_review', '{}') $$;

-- status: verified, waiting (for a decision), refused (the last time), or unverified (nobody has asked).
create or replace function ourvidz.api_age_status(p jsonb) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'status', case when profile.age_verified then 'verified' when last.decision = 'refused' then 'refused'
                   when last.id is not null and last.decision is null then 'waiting' else 'unverified' end,
    'asked_at', last.asked_at, 'decided_at', last.decided_at)
  from (select ourvidz.signed_in() as id) as me
  left join public.profiles as profile on profile.id = me.id
  left join lateral (select * from ourvidz.age_reviews where user_id = me.id order by id desc limit 1) as last on true
$$;

-- Asked again while one waits, it is the same request. After a refusal another may be asked for a day later.
create or replace function ourvidz.api_request_age_review(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_refused timestamptz;
begin
  perform from public.profiles where id = v_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %.', v_user using errcode = 'OV018', column = 'user_id';
  end if;
  select decided_at into v_refused from ourvidz.age_reviews
  where user_id = v_user and decision = 'refused' order by id desc limit 1;
  if v_refused > ourvidz.now() - interval '1 day' then
    raise exception 'A review was refused within the last day: ask again tomorrow.' using errcode = 'OV016', detail = 'Retry after 86400 s.';
  end if;
  insert into ourvidz.age_reviews (user_id, asked_at)
  select v_user, ourvidz.now() where not (select age_verified from public.profiles where id = v_user)
  on conflict (user_id) where decision is null do nothing;
  return ourvidz.api_age_status('{}');
end
$$;

-- The operator's decision, whether the user asked for it or not. It decides what waits, or is written as decided at once.
create or replace function ourvidz.decide_age(p_user uuid, p_verified boolean, p_by text, p_how text) returns ourvidz.age_reviews
language plpgsql
as $$
declare
  v_decision constant text := case when p_verified then 'verified' else 'refused' end;
  v_made ourvidz.age_reviews;
begin
  if length(trim(p_how)) between 1 and 500 is not true then
    raise exception 'How the age was judged must be said, in 1 to 500 characters.' using errcode = 'OV009', column = 'how';
  end if;
  update public.profiles set age_verified = p_verified where id = p_user and erased_at is null;
  if not found then
    raise exception 'There is no profile %, or it was erased.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  update ourvidz.age_reviews set decision = v_decision, decided_at = ourvidz.now(), decided_by = p_by, how = trim(p_how)
  where user_id = p_user and decision is null returning * into v_made;
  if not found then
    insert into ourvidz.age_reviews (user_id, asked_at, decision, decided_at, decided_by, how)
    values (p_user, ourvidz.now(), v_decision, ourvidz.now(), p_by, trim(p_how)) returning * into v_made;
  end if;
  return v_made;
end
$$;
