-- Returns whether these bytes, or a picture similar to one of these hashes, are blocked. Executors call it under their claim for references
-- and outputs. They learn yes or no, never what matched.
create or replace function ourvidz.check_blocked(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text, p_pdq text[]) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  return ourvidz.is_blocked(p_sha256, p_pdq);
end
$$;

-- p_pdq: 256 bits each, as 64 hex digits. Two pictures match when at most policy.pdq_distance bits differ.
create or replace function ourvidz.is_blocked(p_sha256 text, p_pdq text[]) returns boolean
language sql stable
as $$
  select exists (select from ourvidz.blocked_hashes where sha256 = p_sha256)
      or exists (select from unnest(p_pdq) as given join ourvidz.blocked_hashes as b on b.pdq is not null
                 where bit_count(b.pdq # ourvidz.pdq_of(given)) <= (select pdq_distance from ourvidz.policy))
$$;

create or replace function ourvidz.pdq_of(p_hex text) returns bit(256)
language sql immutable
as $$ select ('x' || p_hex)::bit(256) $$;
