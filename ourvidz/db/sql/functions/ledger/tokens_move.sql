-- Fires once per INSERT into token_entries: checks that each transfer sums to zero and updates the balances in the same statement, or
-- undoes it. The only writer of profiles.token_balance; balance_guard refuses all others. Locks profiles in the order of their ids, after
-- the jobs of the transaction, like everything that moves tokens.
create or replace function ourvidz.tokens_move() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_even boolean;
  v_spendable boolean;
  v_by_profile boolean;
  v_short record;
begin
  select bool_and(total = 0), bool_or(available), bool_or(kind in ('opening', 'closing')) into v_even, v_spendable, v_by_profile
  from (select kind, sum(amount) as total, bool_or(account = 'available') as available
        from fresh group by user_id, kind, job_id, job_version, key) as transfers;
  if not v_even then
    raise exception 'A transfer of tokens must sum to zero.' using errcode = 'OV004', hint = 'Write all of its rows in one statement.';
  elsif v_by_profile and pg_trigger_depth() < 2 then
    raise exception 'An account is opened by its profile.' using errcode = 'OV004', hint = 'Call ourvidz.grant_tokens or revoke_tokens.';
  elsif v_spendable and not v_by_profile then  -- profiles opened or closed set their own balance
    -- Locked in a statement of its own, so that the next one sees the current rows. A single UPDATE would look for the row versions from
    -- before the wait, and queue behind those who wait for this very transaction.
    perform ourvidz.lock_profiles(array(select distinct user_id from fresh where account = 'available'));
    with changes as materialized (
      select user_id, sum(amount)::bigint as amount from fresh where account = 'available' group by user_id
    ), moved as (
      update public.profiles as p set token_balance = p.token_balance + c.amount
      from changes as c where p.id = c.user_id and p.token_balance + c.amount >= 0
    )
    select c.user_id, -c.amount as needed, coalesce(p.token_balance, 0) as balance into v_short
    from changes as c left join public.profiles as p on p.id = c.user_id
    where coalesce(p.token_balance, 0) + c.amount < 0 and c.amount < 0 limit 1;
    if v_short.user_id is not null then
      raise exception 'This takes % tokens, and the balance of profile % is %.', v_short.needed, v_short.user_id, v_short.balance
        using errcode = 'OV014', hint = 'Nothing was written, nothing charged.',
              detail = json_build_object('needed', v_short.needed, 'balance', v_short.balance)::text;
    end if;
  end if;
  return null;
end
$$;
