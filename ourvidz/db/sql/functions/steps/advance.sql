-- Records one step of one claim. Raises OV002 when the claim is stale, OV001 when the step is not allowed next.
create or replace function ourvidz.advance(p_job uuid, p_claim bigint, p_token uuid, p_event text, p_data jsonb default '{}') returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_held boolean;
begin
  if p_event in ('enhancement_started', 'generation_started', 'upload_started') then
    v_held := ourvidz.append_one(p_job, p_claim, p_token, p_event, ourvidz.salted(p_job, p_data));
  else
    perform ourvidz.annotate(array[p_job], array[p_claim], array[p_token], p_event, array[p_data]);
    v_held := found;
  end if;
  if not v_held then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
end
$$;

-- Replaces `sha256` in the event's data (64 hex digits of the texts that a model is about to read) with a digest salted for the job. It
-- proves later which text was screened and used, and reveals nothing to anyone without the text.
create or replace function ourvidz.salted(p_job uuid, p_data jsonb) returns jsonb
language plpgsql stable
as $$
begin
  if p_data ? 'sha256' then
    return (select p_data - 'sha256' || jsonb_build_object('digest', encode(sha256(salt || decode(p_data->>'sha256', 'hex')), 'hex'))
            from public.job_payloads where job_id = p_job);
  end if;
  return p_data;
end
$$;
