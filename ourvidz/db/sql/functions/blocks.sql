-- Whether these bytes, or a picture that looks like one of these hashes, are blocked. Asked by an executor under its claim, of references and
-- outputs: it learns yes or no, and never what matched.
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

-- p_pdq: 256 bits each, as 64 hex digits. Two pictures are the same when at most policy.pdq_distance bits differ.
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

-- Adds hashes to the list; those that are there already stay as they were. How many were new.
create or replace function ourvidz.block_add(p_sha256 text[], p_pdq text[], p_source text, p_actor text, p_subject text default null, p_report uuid default null)
returns integer
language plpgsql
as $$
declare
  v_new integer;
begin
  insert into ourvidz.blocked_hashes (sha256, pdq, source, subject, report_id, added_at)
  select given.sha256, ourvidz.pdq_of(given.pdq), p_source, p_subject, p_report, ourvidz.now()
  from (select distinct one as sha256, null as pdq from unnest(p_sha256) as one union select null, one from unnest(p_pdq) as one) as given
  on conflict do nothing;
  get diagnostics v_new = row_count;
  if v_new > 0 then
    perform ourvidz.moderated('hash_added', p_actor, p_report => p_report, p_subject => p_subject);
  end if;
  return v_new;
end
$$;

create or replace function ourvidz.unblock_output(p_subject text, p_actor text) returns void
language plpgsql
as $$
begin
  delete from ourvidz.blocked_hashes where subject = p_subject;
  if found then
    perform ourvidz.moderated('hash_removed', p_actor, p_subject => p_subject);
  end if;
end
$$;
