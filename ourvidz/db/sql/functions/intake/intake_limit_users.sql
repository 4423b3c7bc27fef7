-- Restricts the intake to messages of these users; it leaves all others in Redis to the legacy system's workers. Null: all users again.
-- Each of them gets a profile here; by naming them the operator vouches for their age.
create or replace function ourvidz.intake_limit_users(p_users uuid[], p_tokens bigint default 100000) returns void
language plpgsql
as $$
begin
  delete from ourvidz.sharing;
  if p_users is null then
    return;
  end if;
  insert into ourvidz.sharing (users, since) values (p_users, ourvidz.now());
  insert into public.profiles (id, age_verified, subscription_status, token_balance)
  select distinct id, true, 'premium', p_tokens from unnest(p_users) as named (id)
  on conflict (id) do nothing;
end
$$;

-- Returns whose messages the intake takes; null: everybody's.
create or replace function ourvidz.intake_users() returns uuid[]
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select users from ourvidz.sharing $$;
