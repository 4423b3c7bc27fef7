-- Returns every disagreement between the token ledger, the balances and the events, in one snapshot. No row: no error.
with transfers as (
  select user_id, kind, job_id, job_version, sum(amount) as total, min(seq) as seq
  from ourvidz.token_entries group by user_id, kind, job_id, job_version, key
), accounts as (
  select user_id, account, sum(amount) as amount from ourvidz.token_entries group by user_id, account
), held as (
  select job_id, sum(amount) as amount from ourvidz.token_entries where account = 'held' group by job_id
), expected as (  -- from the events: the price at which it was last queued, and the changes by rerouting since
  select j.id, j.user_id, j.status,
         case when j.status in ('completed', 'failed', 'cancelled') or queued.price is null then 0 else queued.price + coalesce((
           select sum((e.data->>'price_change')::bigint) from public.job_events as e
           where e.job_id = j.id and e.version > queued.version and e.type = 'rerouted'), 0) end as amount
  from public.jobs as j
  left join lateral (
    select e.version, nullif((e.data->>'price')::bigint, 0) as price
    from public.job_events as e
    where e.job_id = j.id and e.type in ('submitted', 'retried') and j.status not in ('completed', 'failed', 'cancelled')
    order by e.version desc limit 1
  ) as queued on true
)
select 'uneven' as kind, user_id, job_id, format('the %s at entry %s sums to %s', kind, seq, total) as message
from transfers where total <> 0
union all
select 'balance', p.id, null, format('the profile says %s, its entries %s', p.token_balance, coalesce(a.amount, 0))
from public.profiles as p left join accounts as a on a.user_id = p.id and a.account = 'available'
where p.token_balance <> coalesce(a.amount, 0)
union all
select 'negative', user_id, null, format('the account %s is at %s', account, amount)
from accounts where amount < 0 and account <> 'issued'
union all
select case when e.amount = 0 then 'held' else 'not_held' end, e.user_id, e.id,
       format('the job is %s and holds %s; its events say %s', e.status, coalesce(h.amount, 0), e.amount)
from expected as e left join held as h on h.job_id = e.id
where coalesce(h.amount, 0) <> e.amount
union all
select 'no_event', t.user_id, t.job_id, format('no event at version %s is cause of this %s', t.job_version, t.kind)
from transfers as t
where t.job_id is not null and not exists (
  select from public.job_events as e
  where e.job_id = t.job_id and e.version = t.job_version
    and e.type = any (case t.kind when 'hold' then '{submitted,retried}' when 'adjust' then '{rerouted}'
                      else '{completed,failed,cancelled}' end::text[]))
union all
-- No end may charge more than the share of outputs that its events say were delivered since the tokens were held.
select 'overcharged', c.user_id, c.job_id, format('%s tokens were charged at version %s, of %s held for %s outputs, and %s were delivered',
                                                  c.charged, c.job_version, c.held, o.asked, o.fresh)
from (
  select user_id, job_id, job_version, -sum(amount) filter (where kind = 'capture') as charged, -sum(amount) as held
  from ourvidz.token_entries where account = 'held' and kind in ('capture', 'release') group by user_id, job_id, job_version
) as c
cross join lateral (
  select h.version, coalesce((h.data->>'delivered')::bigint, 0) as earlier from public.job_events as h
  where h.job_id = c.job_id and h.version < c.job_version and h.type in ('submitted', 'retried') order by h.version desc limit 1
) as since
cross join lateral (
  select count(distinct e.data->>'index') as fresh, greatest(ourvidz.outputs_asked(c.job_id) - since.earlier, 1) as asked
  from public.job_events as e
  where e.job_id = c.job_id and e.version > since.version and e.version < c.job_version and e.type = 'artifact_uploaded'
    and e.data->>'kind' <> 'thumbnail'
) as o
where c.charged * o.asked > c.held * o.fresh
order by 1, 2, 3
