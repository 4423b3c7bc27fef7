-- Tokens, by double entry: a transfer is two or more rows that sum to zero. No table of accounts: user and account name identify one.
--   available  the user can spend it: profiles.token_balance is the sum of these
--   held       reserved for unfinished jobs
--   revenue    earned
--   issued     where tokens come from and go back to: as far below zero as the others are above it
-- No foreign key to profiles: entries outlive them, and are the hottest rows after the events. No primary key: each row is in one of the
-- two unique indexes, by which a job's event, or an operator's key, moves tokens only once.
create table ourvidz.token_entries (
  seq         bigint generated always as identity,
  user_id     uuid not null,
  account     text not null,
  amount      bigint not null,
  kind        text not null,
  job_id      uuid,
  job_version integer,
  key         text check (length(key) between 1 and 200),
  reason      text check (length(reason) between 1 and 500),
  actor       text not null,
  at          timestamptz not null,
  check ((kind, account, sign(amount)) in (
    ('opening', 'issued', -1), ('opening', 'available', 1),
    ('grant',   'issued', -1), ('grant',   'available', 1),
    ('revoke',  'available', -1), ('revoke',  'issued', 1),
    ('closing', 'available', -1), ('closing', 'issued', 1),
    ('hold',    'available', -1), ('hold',    'held', 1),
    ('capture', 'held', -1), ('capture', 'revenue', 1),
    ('release', 'held', -1), ('release', 'available', 1),
    ('adjust',  'available', -1), ('adjust',  'held', 1),
    ('adjust',  'held', -1), ('adjust',  'available', 1))),
  check (case when kind in ('hold', 'capture', 'release', 'adjust') then num_nulls(job_id, job_version) = 0 and key is null
              else num_nulls(job_id, job_version) = 2 and num_nulls(key, reason) = 0 end)
);
create unique index token_entries_of_event on ourvidz.token_entries (job_id, job_version, kind, account) where job_id is not null;
create unique index token_entries_of_key on ourvidz.token_entries (user_id, key, account) where job_id is null;
-- One row of each transfer, for a user's list.
create index token_entries_of_user on ourvidz.token_entries (user_id, seq) where account in ('held', 'issued');

-- Every job rewrites the balance: leaves room for heap-only updates.
alter table public.profiles set (fillfactor = 70);
insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)
select id, leg.account, leg.sign * token_balance, 'opening', 'before the ledger', 'The balance before the ledger.', 'migration', now()
from public.profiles cross join (values ('issued', -1), ('available', 1)) as leg (account, sign)
where token_balance > 0;
