-- Refuses references that a job type does not take or whose form is unknown; state.catalog applies the same rules. An object's owner and a
-- URL's target are checked when it is read. The error omits the address: a signed URL is a secret.
create or replace function ourvidz.check_references(p_kind ourvidz.job_types, p_references jsonb) returns void
language plpgsql immutable
as $$
declare
  v_slot text;
  v_address jsonb;
begin
  if jsonb_typeof(p_references) <> 'object' then
    raise exception 'references must map a slot to a ''bucket/path'' or an https:// URL.' using errcode = 'OV009', column = 'references';
  end if;
  for v_slot, v_address in select * from jsonb_each(p_references) loop
    if not p_kind.limits->'slots'->'in' ? v_slot then
      raise exception 'A % has no reference "%"; it takes %.', p_kind.name, left(v_slot, 40), p_kind.limits->'slots'->'in'
        using errcode = 'OV009', column = 'references';
    elsif jsonb_typeof(v_address) <> 'string' or not (
            length(v_address #>> '{}') <= 500 and v_address #>> '{}' ~ '^[A-Za-z0-9_.-]+/[ -~]+$'
            or length(v_address #>> '{}') <= 2000 and v_address #>> '{}' ~ '^https://[!-~]+$') then
      raise exception 'Reference % must be a ''bucket/path'' of at most 500 characters or an https:// URL of at most 2,000, in plain ASCII.', v_slot
        using errcode = 'OV009', column = 'references';
    end if;
  end loop;
  if p_kind.init_image and not p_references ? 'init' then
    raise exception '% needs an init image.', p_kind.name using errcode = 'OV009', column = 'references';
  elsif p_references ? 'single' and p_references ?| array['first_frame', 'last_frame'] then
    raise exception '%: give either single or first_frame/last_frame, not both.', p_kind.name using errcode = 'OV009', column = 'references';
  end if;
end
$$;
