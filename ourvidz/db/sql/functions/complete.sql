create or replace function ourvidz.complete(p_job uuid, p_claim bigint, p_token uuid) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz set plan_cache_mode = force_generic_plan
as $$
begin
  perform ourvidz.complete_batch(array[p_job], array[p_claim], array[p_token]);
  if not found then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
end
$$;
