-- Leases a receiver's next message to a deliverer for p_lease seconds. Without a reported outcome by then it is leased to the next one: a
-- killed deliverer loses nothing, and one that was killed after sending has its message sent again, under the same id.
create or replace function ourvidz.outbox_take(p_receiver text, p_lease double precision)
returns table (id uuid, attempts integer, url text, secret_env text, taken_at timestamptz, body jsonb)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  perform ourvidz.refuse_copy();
  return query
  with due as materialized (
    select o.id
    from ourvidz.outbox as o
    where o.receiver = p_receiver and o.delivered_at is null and o.dead_at is null and o.next_at <= v_now
      and exists (select from ourvidz.receivers as r where r.name = p_receiver and r.enabled)
    order by o.next_at, o.id limit 1 for update skip locked
  ), taken as (
    update ourvidz.outbox as o set next_at = v_now + make_interval(secs => p_lease) from due where o.id = any (array[due.id]) returning o.*
  )
  select t.id, t.attempts, r.url, r.secret_env, v_now, ourvidz.outbox_body(t)
  from taken as t join ourvidz.receivers as r on r.name = t.receiver;
end
$$;
