-- Sets a legal hold: until it is lifted, no erasure and no sweep removes what the user has. Returns the existing hold if there is one.
create or replace function ourvidz.hold_set(p_user uuid, p_reason text, p_by text) returns ourvidz.legal_holds
language plpgsql
as $$
declare
  h ourvidz.legal_holds;
begin
  if length(trim(p_reason)) between 1 and 500 is not true then
    raise exception 'A legal hold needs a reason, of at most 500 characters.' using errcode = 'OV009', column = 'reason';
  end if;
  -- The lock that each step of an erasure takes: a step that has begun finishes first, and the next one is refused.
  perform ourvidz.profile_lock(p_user);
  insert into ourvidz.legal_holds (user_id, reason, set_by, since) values (p_user, p_reason, p_by, ourvidz.now())
  on conflict (user_id) where lifted_at is null do nothing;
  select * into h from ourvidz.legal_holds where user_id = p_user and lifted_at is null;
  return h;
end
$$;

-- Lifts a user's legal hold. Returns whether there was one.
create or replace function ourvidz.hold_lift(p_user uuid, p_by text) returns boolean
language plpgsql
as $$
begin
  update ourvidz.legal_holds set lifted_at = greatest(ourvidz.now(), since), lifted_by = p_by where user_id = p_user and lifted_at is null;
  return found;
end
$$;

create or replace function ourvidz.profile_lock(p_user uuid) returns void
language plpgsql
as $$
begin
  perform from public.profiles where id = p_user for update;
  if not found then
    raise exception 'There is no profile %.', coalesce(p_user::text, '(none)') using errcode = 'OV018', column = 'user_id';
  end if;
end
$$;
