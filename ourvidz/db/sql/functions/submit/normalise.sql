-- Returns a request as it will be made: job_type, settings, prompt, negative_prompt, lane, price, references, set_aside, metadata, chosen
-- (settings that the request gave itself) … Raises OV009 for wrong settings and OV018 for another user's rows. Does not check the user, the
-- prompt or the balance, and writes nothing. A seed that was not given is drawn when the job is queued.
create or replace function ourvidz.normalise(request jsonb, source text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  a constant ourvidz.asked_job := (ourvidz.normalise_requests(jsonb_build_array(request), source))[1];
  v_kind constant ourvidz.job_types := ourvidz.kind_of(a.job_type);
begin
  perform ourvidz.check_references_and_settings(a, v_kind);
  return to_jsonb(a) - '{ord,body_digest,source}'::text[] || jsonb_build_object(
    'set_aside', coalesce(a.set_aside, '[]'), 'price', ourvidz.price_of(a.job_type, a.settings),
    'references', coalesce(a.settings->'references', '{}'));
end
$$;

create or replace function ourvidz.kind_of(p_type text) returns ourvidz.job_types
language plpgsql stable
as $$
declare
  v_kind ourvidz.job_types;
begin
  select * into v_kind from ourvidz.job_types where name = p_type;
  if not found then
    raise exception 'There is no job type "%".', coalesce(left(p_type, 40), '') using errcode = 'OV009', column = 'job_type';
  end if;
  return v_kind;
end
$$;
