-- Adds hashes to the block list; existing ones stay unchanged. Returns how many were new.
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

-- Removes a whole list by its name. Returns how many hashes were removed.
create or replace function ourvidz.block_drop(p_source text, p_actor text) returns integer
language plpgsql
as $$
declare
  v_gone integer;
begin
  delete from ourvidz.blocked_hashes where source = p_source and subject is null;
  get diagnostics v_gone = row_count;
  if v_gone > 0 then
    perform ourvidz.moderated('hash_removed', p_actor);
  end if;
  return v_gone;
end
$$;
