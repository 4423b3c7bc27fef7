-- Counts the outcomes of messages, and keeps them for a while. Runs in the transaction of intake() that processed them; refusals found
-- before the database was asked are recorded alone.
create or replace function ourvidz.intake_record(p_queue text, p_records jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into ourvidz.intake_messages (at, queue, outcome, message_id, digest, reason, field)
  select v_now, p_queue, r.outcome, r.message_id, decode(r.digest, 'hex'), ourvidz.known_or_other('reason', r.reason),
         -- config.size: the part that the message format knows
         coalesce(nullif(ourvidz.known_or_other('field', r.field), 'other'), ourvidz.known_or_other('field', split_part(r.field, '.', 1)))
  from jsonb_to_recordset(p_records) as r (outcome text, message_id uuid, digest text, reason text, field text);
  insert into ourvidz.intake_counts as c (day, queue, outcome, reason, n)
  select (v_now at time zone 'UTC')::date, p_queue, r.outcome, coalesce(ourvidz.known_or_other('reason', r.reason), ''), count(*)
  from jsonb_to_recordset(p_records) as r (outcome text, reason text)
  group by 3, 4 order by 3, 4
  on conflict (day, queue, outcome, reason) do update set n = c.n + excluded.n;
end
$$;

-- Returns the value if it is in the list of this column of ourvidz.intake_messages, else `other`.
create or replace function ourvidz.known_or_other(p_column text, p_value text) returns text
language sql stable
as $$
  select case when ourvidz.matches_kind(to_jsonb(p_value), kind) then p_value else 'other' end
  from ourvidz.column_kinds where name = 'ourvidz.intake_messages.' || p_column
$$;

-- Deletes records of messages that nobody will send again. Returns how many.
create or replace function ourvidz.intake_forget(p_older interval default interval '30 days') returns bigint
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_count bigint;
begin
  delete from ourvidz.intake_messages where at < (select ourvidz.now() - p_older);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
