-- Guards `rerouted` events, whoever writes them: to the fallback of the job's type, in its plain lane; or, when a message arrives after the
-- row (reason `message`), to another lane of the same type's family.
-- plpgsql, so that it is not inlined into events_apply: other events then do not pay for it.
create or replace function ourvidz.may_reroute(p_job_type text, p_data jsonb) returns boolean
language plpgsql stable
as $$
begin
  return exists (
    select from ourvidz.job_types as kind join ourvidz.job_types as fallback on fallback.name = kind.fallback
    where kind.name = p_job_type and fallback.name = p_data->>'job_type' and ourvidz.lane_of(fallback.family, '{}') = p_data->>'lane'
    union all
    select from ourvidz.job_types as kind
    where p_data->>'reason' = 'message' and kind.name = p_job_type and kind.name = p_data->>'job_type'
      and p_data->>'lane' in (ourvidz.lane_of(kind.family, '{}'), ourvidz.lane_of(kind.family, '{"references": {"style": "", "single": ""}}')));
end
$$;
