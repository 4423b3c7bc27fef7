-- Takes back tokens that no job holds. Raises as grant_tokens does, and OV014 if the balance is too low.
create or replace function ourvidz.revoke_tokens(
  p_user uuid, p_amount bigint, p_reason text, p_key text default null, p_actor text default null, out balance bigint, out created boolean
)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  select * into balance, created from ourvidz.issue_tokens('revoke', p_user, p_amount, p_reason, p_key, p_actor);
end
$$;
