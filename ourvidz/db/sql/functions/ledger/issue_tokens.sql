-- Gives tokens to a user (`grant`) or takes them back (`revoke`), for an operator, with a reason. The same key again is the same transfer.
-- Internal: grant_tokens and revoke_tokens call it. `created` is false when the key had moved them before.
create or replace function ourvidz.issue_tokens(
  p_kind text, p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, out balance bigint, out created boolean
)
language plpgsql
as $$
declare
  v_caller constant record := ourvidz.caller();
  v_key constant text := coalesce(p_key, gen_random_uuid()::text);
  v_known record;
begin
  if v_caller.role is not null and v_caller.role <> 'service_role' and not v_caller.admin then
    raise exception 'Only an admin may grant or revoke tokens.' using errcode = 'OV017';
  elsif coalesce(p_amount, 0) not between 1 and 1000000000000 then
    raise exception 'An amount of tokens is 1 to 1,000,000,000,000; % is not.', p_amount using errcode = 'OV009', column = 'amount';
  elsif coalesce(length(trim(p_reason)), 0) not between 1 and 500 then
    raise exception 'Say why, in 1 to 500 characters.' using errcode = 'OV009', column = 'reason';
  elsif length(v_key) not between 1 and 200 then
    raise exception 'A key has 1 to 200 characters.' using errcode = 'OV009', column = 'key';
  end if;
  -- Of two calls with one key, the second waits here, then finds the first one's entry.
  select token_balance into balance from public.profiles where id = p_user for no key update;
  if not found then
    raise exception 'There is no profile %.', p_user using errcode = 'OV018';
  end if;
  select kind, abs(amount) as amount into v_known
  from ourvidz.token_entries where job_id is null and user_id = p_user and key = v_key and account = 'available';
  created := not found;
  if created then
    insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)
    select p_user, leg.account, leg.sign * p_amount, p_kind, v_key, trim(p_reason),
           -- A caller with a JWT cannot choose the actor.
           case when v_caller.role is null then coalesce(p_actor, ourvidz.actor()) else ourvidz.actor() end, ourvidz.now()
    from (values ('issued', case p_kind when 'grant' then -1 else 1 end), ('available', case p_kind when 'grant' then 1 else -1 end))
         as leg (account, sign);
    select token_balance into balance from public.profiles where id = p_user;
  elsif (v_known.kind, v_known.amount) is distinct from (p_kind, p_amount) then
    raise exception 'Key "%" of profile % has moved % tokens before (%): it cannot mean something else.',
      p_key, p_user, v_known.amount, v_known.kind using errcode = 'OV008', hint = 'Use another key.';
  end if;
end
$$;
