-- Writes the token entries that follow from job events. A job's price is held when it is queued; when it ends, in whatever way, the price
-- of what it delivered is captured (ourvidz.charge_due) and the rest released. One statement for all event types; the trigger of token_entries
-- updates the balances (tokens_move). A job from before the ledger has no price in its events, so it holds and moves nothing.
create or replace function ourvidz.ledger_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
  insert into ourvidz.token_entries (user_id, account, amount, kind, job_id, job_version, actor, at)
  select j.user_id, leg.account, leg.amount, leg.kind, e.job_id, e.version, e.actor, e.occurred_at
  from unnest(p_events) as e
  cross join lateral (select user_id from public.jobs where id = e.job_id limit 1) as j
  cross join lateral (
    -- No condition on account: it would match token_entries_of_user (held entries only) without using its key, and the planner would read
    -- that index whole where statistics say that it is small.
    select coalesce(sum(amount) filter (where account = 'held'), 0)::bigint as held,
           max(job_version) filter (where kind = 'hold' and account = 'held') as since
    from ourvidz.token_entries where job_id = e.job_id
  ) as before
  cross join lateral (
    select case when e.type in ('submitted', 'retried') then (e.data->>'price')::bigint end as price,
           case when e.type = 'rerouted' and held > 0 then greatest((e.data->>'price_change')::bigint, -held) end as change,
           case when held > 0 and e.type in ('completed', 'failed', 'cancelled') then ourvidz.charge_due(e, held, since) else 0 end as earned,
           case when e.to_status in ('completed', 'failed', 'cancelled') then held else 0 end as back
    offset 0  -- evaluated once per event, not once per leg
  ) as due
  cross join lateral (
    values ('hold', 'available', -due.price), ('hold', 'held', due.price),
           ('adjust', 'available', -due.change), ('adjust', 'held', due.change),
           ('capture', 'held', -due.earned), ('capture', 'revenue', due.earned),
           ('release', 'held', due.earned - due.back), ('release', 'available', due.back - due.earned)
  ) as leg (kind, account, amount)
  where leg.amount <> 0;
end
$$;
