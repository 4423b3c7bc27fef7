-- Records an output in the claim's spool: its metadata, sha256 and size. A retry on the same host uploads it from there.
create or replace function ourvidz.artifact_generated(p_job uuid, p_claim bigint, p_token uuid, p_artifact jsonb, p_seconds float8 default null)
returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  a public.artifacts := jsonb_populate_record(null::public.artifacts, p_artifact - 'pdq');
  v_digest text;
begin
  perform ourvidz.check_value(p_artifact, 'artifact', json_bytes) from ourvidz.limits;
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  elsif not (exists (select from ourvidz.buckets where name = a.bucket and not public and not uploads)
             and a.path ~ format('^%s/%s/[A-Za-z0-9._-]+$', (select user_id from public.jobs where id = p_job), p_job)) then
    -- The folder names the object's owner: users' read access depends on it, and erasure deletes the paths recorded here.
    raise exception 'An output of job % lies in its own folder of a bucket of ours.', p_job using errcode = 'OV009', column = 'path';
  end if;
  a.pdq := array(select ourvidz.pdq_of(h) from jsonb_array_elements_text(coalesce(p_artifact->'pdq', '[]')) as h);
  -- A repeated call, after the answer to the first was lost: nothing to add.
  if exists (select from public.artifacts where job_id = p_job and kind = a.kind and index = a.index
             and (uploaded_at is not null or claim_no = p_claim and sha256 = a.sha256)) then
    return;
  end if;
  insert into public.artifacts as known (job_id, index, kind, claim_no, seed, bucket, path, media_type, width, height, frames, bytes,
                                         sha256, spool, created_at, metadata, pdq)
  values (p_job, a.index, a.kind, p_claim, a.seed, a.bucket, a.path, a.media_type, a.width, a.height, a.frames, a.bytes,
          a.sha256, a.spool, ourvidz.now(), coalesce(a.metadata, '{}'), a.pdq)
  on conflict (job_id, kind, index) do update
    set claim_no = excluded.claim_no, path = excluded.path, bytes = excluded.bytes, sha256 = excluded.sha256, spool = excluded.spool,
        width = excluded.width, height = excluded.height, frames = excluded.frames, metadata = excluded.metadata, pdq = excluded.pdq;
  select encode(sha256(salt || decode(a.sha256, 'hex')), 'hex') into v_digest from public.job_payloads where job_id = p_job;
  perform ourvidz.append(array[p_job], 'artifact_generated',
    array[jsonb_strip_nulls(jsonb_build_object('index', a.index, 'kind', a.kind, 'seed', a.seed, 'bytes', a.bytes, 'digest', v_digest,
                                               'seconds', round(p_seconds::numeric, 3)))],
    'executor');
end
$$;
