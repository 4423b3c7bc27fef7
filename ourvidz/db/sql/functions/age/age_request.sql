-- Requests an age review. While one is open, asking again returns the same request.
create or replace function ourvidz.api_request_age_review(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_status text;
  v_again timestamptz;
begin
  perform from public.profiles where id = v_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %.', v_user using errcode = 'OV018', column = 'user_id';
  end if;
  select told->>'status', told->>'may_ask_at' into v_status, v_again from ourvidz.age_of(v_user) as told;
  if v_again > ourvidz.now() then
    raise exception 'A review was refused within the last day: ask again tomorrow.'
      using errcode = 'OV016', detail = 'Retry after 86400 s.';
  elsif v_status <> 'verified' then
    insert into ourvidz.age_reviews (user_id, asked_at) values (v_user, ourvidz.now())
    on conflict (user_id) where decision is null do nothing;
  end if;
  return ourvidz.age_of(v_user);
end
$$;

-- Starts the review of a user's request, or opens one for a user who has not asked: its state becomes `in_review`.
create or replace function ourvidz.age_look(p_user uuid, p_by text, p_how text default null) returns ourvidz.age_reviews
language plpgsql
as $$
declare
  v_made ourvidz.age_reviews;
begin
  perform from public.profiles where id = p_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %, or it was erased.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  insert into ourvidz.age_reviews as r (user_id, asked_at, began_at, began_by, how)
  values (p_user, ourvidz.now(), ourvidz.now(), p_by, p_how)
  on conflict (user_id) where decision is null do update set began_at = excluded.began_at, began_by = excluded.began_by,
    how = coalesce(excluded.how, r.how)
  returning * into v_made;
  return v_made;
end
$$;
