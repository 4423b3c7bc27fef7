-- Returns the enabled receivers that have messages due, and how many (counted up to 1,000).
create or replace function ourvidz.outbox_due() returns table (receiver text, url text, secret_env text, messages bigint)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  perform ourvidz.refuse_copy();
  return query
  select r.name, r.url, r.secret_env, waiting.messages
  from ourvidz.receivers as r
  cross join lateral (
    select count(*) as messages
    from (select from ourvidz.outbox as o
          where o.receiver = r.name and o.delivered_at is null and o.dead_at is null and o.next_at <= v_now limit 1000) as counted
  ) as waiting
  where r.enabled and waiting.messages > 0;
end
$$;
