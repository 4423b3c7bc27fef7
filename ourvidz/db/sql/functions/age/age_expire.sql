-- Turns expired verifications into decisions, which stops the users' jobs. Called by the reaper. In user id order, like all locks.
create or replace function ourvidz.age_expire(p_limit integer default 20) returns void
language plpgsql
as $$
declare
  v_user uuid;
begin
  for v_user in
    select user_id
    from (select user_id from ourvidz.age_ends where until <= (select ourvidz.now()) order by until limit p_limit for update skip locked) as due
    order by user_id
  loop
    perform from public.profiles where id = v_user and age_verified and age_verified_until <= ourvidz.now() for no key update;
    if found then
      perform ourvidz.age_decided(v_user, 'expired', 'reaper', 'it was verified until then', null);
      update public.profiles set age_verified = false, age_verified_until = null where id = v_user;
    else
      delete from ourvidz.age_ends where user_id = v_user and until <= ourvidz.now();
    end if;
  end loop;
end
$$;
