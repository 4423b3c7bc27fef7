-- Sends dead or delivered messages again, for a person: under the same ids, with all their tries. Returns how many.
create or replace function ourvidz.outbox_redeliver(p_messages uuid[]) returns integer
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_count integer;
begin
  update ourvidz.outbox set delivered_at = null, dead_at = null, attempts = 0, next_at = ourvidz.now() where id = any (p_messages);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
