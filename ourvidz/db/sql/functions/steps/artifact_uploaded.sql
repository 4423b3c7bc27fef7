-- Records that an output is in its bucket, byte for byte: from now on it belongs to the job, whatever becomes of this claim.
create or replace function ourvidz.artifact_uploaded(p_job uuid, p_claim bigint, p_token uuid, p_kind text, p_index integer, p_sha256 text)
returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  a public.artifacts;
  v_salt bytea;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  update public.artifacts set uploaded_at = ourvidz.now(), spool = null
  where job_id = p_job and kind = p_kind and index = p_index and uploaded_at is null and sha256 = p_sha256
  returning * into a;
  if not found then
    raise exception 'Job % has no recorded % % with these bytes waiting for upload.', p_job, p_kind, p_index using errcode = 'OV001';
  end if;
  -- The upload put the object back at its path: if still taken down or suspended, move it away again; else nothing is left to move.
  update ourvidz.taken_objects set moved = false, next_at = ourvidz.now() where (bucket, path) = (a.bucket, a.path) and moved;
  delete from ourvidz.taken_objects where (bucket, path) = (a.bucket, a.path) and not down and not suspended and not moved;
  select salt into v_salt from public.job_payloads where job_id = p_job;
  perform ourvidz.append(array[p_job], 'artifact_uploaded',
    array[jsonb_build_object('index', a.index, 'kind', a.kind, 'bytes', a.bytes,
                             'digest', encode(sha256(v_salt || decode(a.sha256, 'hex')), 'hex'))],
    'executor');
end
$$;
