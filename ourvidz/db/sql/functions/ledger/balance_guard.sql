-- Refuses a change of a balance without ledger entries: only tokens_move may write it. Another trigger does not run as the ledger's owner.
create or replace function ourvidz.balance_guard() returns trigger
language plpgsql
as $$
begin
  if pg_trigger_depth() < 2 or current_user <> 'ourvidz_owner' then
    raise exception 'The balance of profile % may change only by a transfer of tokens.', new.id
      using errcode = 'OV004', hint = 'Call ourvidz.grant_tokens or ourvidz.revoke_tokens, or `ourvidz tokens grant`.';
  end if;
  return null;
end
$$;

-- Opens the account of a profile that is inserted with a balance (a row of the legacy system, a sign-up gift); returns the balance of a
-- deleted one. Users cannot give themselves tokens: a user's own INSERT must start with none.
create or replace function ourvidz.balance_opened() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_caller constant record := ourvidz.caller();
  v_key constant text := gen_random_uuid();
  v_opens constant boolean := tg_op = 'INSERT';
  p constant public.profiles := case when tg_op = 'INSERT' then new else old end;
begin
  if v_opens and v_caller.role in ('anon', 'authenticated') and not v_caller.admin then
    raise exception 'A profile that its user makes begins with no tokens.' using errcode = 'OV017';
  end if;
  insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)
  select p.id, leg.account, leg.sign * p.token_balance, case when v_opens then 'opening' else 'closing' end, v_key,
         case when v_opens then 'The profile came with it.' else 'The profile was deleted.' end, 'system', ourvidz.now()
  from (values ('issued', case when v_opens then -1 else 1 end), ('available', case when v_opens then 1 else -1 end)) as leg (account, sign);
  return null;
end
$$;
