-- From now on the intake takes the messages of these users alone, and leaves all others in Redis to the older system's workers; null: it takes
-- everybody's again. They get a profile here, whose age the operator answers for by naming them.
create or replace function ourvidz.share_with(p_users uuid[], p_tokens bigint default 100000) returns void
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

-- Whose messages to take; null: everybody's.
create or replace function ourvidz.shared_with() returns uuid[]
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select users from ourvidz.sharing $$;
