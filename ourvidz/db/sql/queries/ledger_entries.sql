-- Returns a user's last transfers, newest first, each with its effect on what they can spend and on what their jobs hold.
select seq, at, kind, case when kind = 'capture' then 0 else -amount end as available, case when account = 'held' then amount else 0 end as held,
       job_id, key, reason, actor
from ourvidz.token_entries
where user_id = %(user)s and account in ('held', 'issued')
order by seq desc
limit %(limit)s
