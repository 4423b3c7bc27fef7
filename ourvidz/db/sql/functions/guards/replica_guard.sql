-- Fires in sessions with session_replication_role = replica, where none of our other triggers does. Allows only what was decided elsewhere:
-- rows that a subscription brings, and rows loaded into a database before it is known which one it is (ourvidz.is_copy).
create or replace function ourvidz.replica_guard() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  if current_setting('session_replication_role') = 'replica' and not ourvidz.is_copy()
     and not exists (select from pg_stat_get_subscription(null) where pid = pg_backend_pid()) then
    raise exception '% on %.% is refused in a session with session_replication_role = replica: triggers would not see it.',
      tg_op, tg_table_schema, tg_table_name
      using errcode = 'OV051', hint = 'Reset it. To load a dump, see docs/restore.md.';
  end if;
  return null;
end
$$;
