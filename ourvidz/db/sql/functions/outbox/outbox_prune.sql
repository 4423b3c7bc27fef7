-- Deletes messages delivered over 30 days ago or dead for over 90 days. At most 10,000 at a time; returns how many.
create or replace function ourvidz.outbox_prune() returns integer
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_count integer;
begin
  delete from ourvidz.outbox
  where id = any (array(  -- as in promote
    select id from ourvidz.outbox
    where coalesce(delivered_at, dead_at) < v_now - interval '30 days' and (delivered_at is not null or dead_at < v_now - interval '90 days')
    limit 10000 for update skip locked));
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
