-- Locks the balances that a transaction of many jobs may change, before it changes any: after all its jobs, in the order of ids. Internal.
create or replace function ourvidz.lock_profiles(p_users uuid[]) returns void
language plpgsql
as $$
begin
  perform from public.profiles where id = any (p_users) order by id for no key update;
end
$$;
