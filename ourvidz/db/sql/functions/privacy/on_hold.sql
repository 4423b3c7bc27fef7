-- Checks whether the caller is under a legal hold. Used by a policy on storage.objects: such a user deletes nothing there.
create or replace function ourvidz.on_hold() returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select exists (select from ourvidz.legal_holds as h, ourvidz.caller() as me where h.user_id = me.user_id and h.lifted_at is null)
$$;
