-- Completes a job. Refuses one with an output that is recorded but not uploaded. Raises as advance does.
create or replace function ourvidz.complete(p_job uuid, p_claim bigint, p_token uuid) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_outputs bigint;
  v_open bigint;
begin
  select count(*), count(*) filter (where uploaded_at is null) into v_outputs, v_open from public.artifacts where job_id = p_job;
  if v_open > 0 and ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) <> '{}' then
    raise exception 'Job % has an output that is not uploaded yet.', p_job using errcode = 'OV001', hint = 'Upload it, then complete.';
  elsif not ourvidz.append_one(p_job, p_claim, p_token, 'completed', jsonb_build_object('artifacts', v_outputs)) then
    perform ourvidz.refuse_stale(p_job, p_claim);
  -- Checked again under the job's lock: this claim may have recorded an output meanwhile, by a call that it gave up waiting for.
  elsif (select count(*) from public.artifacts where job_id = p_job) <> v_outputs then
    raise exception 'Job % got another output while it was completed.', p_job using errcode = 'OV001', hint = 'Upload it, then complete.';
  end if;
end
$$;
