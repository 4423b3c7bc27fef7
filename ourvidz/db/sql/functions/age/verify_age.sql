-- Decides on a user's age, called with the service key or by an admin: the only function that verifies. `how`: the grounds, stored with the
-- decision and its author. `until`: when it expires; null: never. verified => false refuses or revokes it, and stops the user's jobs.
create or replace function public.verify_age(user_id uuid, verified boolean, how text, until timestamptz default null) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('verify_age', jsonb_build_object('user_id', verify_age.user_id, 'verified', verify_age.verified,
                                                         'how', verify_age.how, 'until', verify_age.until))
$$;

create or replace function ourvidz.api_verify_age(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_me record;
  v_made ourvidz.age_reviews;
begin
  select * into v_me from ourvidz.caller();
  -- Grants already limit who may execute public.verify_age; this holds even if a project grants it more widely.
  if v_me.role is not null and v_me.role <> 'service_role' and not v_me.admin then
    raise exception 'An age is verified by the service key or an admin.' using errcode = 'OV017';
  end if;
  v_made := ourvidz.verify_age((p->>'user_id')::uuid, (p->>'verified')::boolean, p->>'how', ourvidz.actor(), (p->>'until')::timestamptz);
  return ourvidz.age_of(v_made.user_id) || jsonb_build_object('user_id', v_made.user_id, 'decided_by', v_made.decided_by, 'how', v_made.how);
end
$$;

-- Decides for our own connections, which say who decides (p_by). Closes the user's open review, or writes one that is decided at once.
create or replace function ourvidz.verify_age(p_user uuid, p_verified boolean, p_how text, p_by text, p_until timestamptz default null)
returns ourvidz.age_reviews
language plpgsql
as $$
declare
  v_made ourvidz.age_reviews;
begin
  if length(trim(p_how)) between 1 and 500 is not true then
    raise exception 'How the age was judged must be said, in 1 to 500 characters.' using errcode = 'OV009', column = 'how';
  elsif p_verified is null then
    raise exception 'Whether the age is verified must be said: true or false.' using errcode = 'OV009', column = 'verified';
  elsif p_verified and p_until <= ourvidz.now() then
    raise exception 'The verification would have run out already: %.', p_until using errcode = 'OV009', column = 'until';
  end if;
  -- Serialises decisions on one user. Does not wait for an unfinished job, whose holder may want this row next (ourvidz.stop_jobs).
  perform from public.profiles where id = p_user and erased_at is null for no key update;
  if not found then
    raise exception 'There is no profile %, or it was erased.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  v_made := ourvidz.age_decided(p_user, case when p_verified then 'verified' else 'refused' end, p_by, trim(p_how),
                                case when p_verified then p_until end);
  update public.profiles set age_verified = p_verified, age_verified_until = v_made.verified_until where id = p_user;
  return v_made;
end
$$;
