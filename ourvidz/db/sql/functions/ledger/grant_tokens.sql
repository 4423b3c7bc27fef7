-- Gives a user tokens, once per key. Raises OV009 (amount, reason), OV018 (no such profile), OV008 (the key meant something else), OV017.
create or replace function ourvidz.grant_tokens(
  p_user uuid, p_amount bigint, p_reason text, p_key text default null, p_actor text default null, out balance bigint, out created boolean
)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  select * into balance, created from ourvidz.issue_tokens('grant', p_user, p_amount, p_reason, p_key, p_actor);
end
$$;
