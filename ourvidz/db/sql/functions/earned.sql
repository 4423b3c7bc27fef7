-- How many of a job's outputs were delivered: their rows say that they are in their bucket (artifact_uploaded, which follows the screens), and
-- from that moment their user may read them (ourvidz.readable). A video is one output; a thumbnail is part of its own.
create or replace function ourvidz.delivered(p_job uuid) returns bigint
language sql stable
as $$ select count(*) from public.artifacts where job_id = p_job and kind <> 'thumbnail' and uploaded_at is not null $$;

-- How many outputs were asked for.
create or replace function ourvidz.outputs_asked(p_job uuid) returns bigint
language sql stable
as $$ select coalesce((select (settings->>'images')::bigint from public.job_payloads where job_id = p_job), 1) $$;

-- What of the tokens that a job holds is charged at its end: for each output delivered since the event that held them (p_since), its share. A
-- remainder stays with the user (integer division). What a screen refused at last is withdrawn, all of it, and costs nothing.
create or replace function ourvidz.earned(e public.job_events, p_held bigint, p_since integer) returns bigint
language sql stable
as $$
  select case when e.type = 'failed' and coalesce((e.data->>'final')::boolean, false) then 0
              else p_held * least(ourvidz.delivered(e.job_id) - earlier, owed) / owed end
  from (
    select earlier, greatest(ourvidz.outputs_asked(e.job_id) - earlier, 1) as owed
    from (select coalesce((select (h.data->>'delivered')::bigint from public.job_events as h
                           where h.job_id = e.job_id and h.version = p_since), 0) as earlier) as counted
  ) as shares
$$;

-- What a retry costs: the price of the outputs that were not delivered yet. Those that were are not made again, nor charged again.
create or replace function ourvidz.price_left(j public.jobs) returns bigint
language sql stable
as $$
  select kind.price::bigint * greatest(ourvidz.outputs_asked(j.id) - ourvidz.delivered(j.id), 0)
  from ourvidz.job_types as kind where kind.name = j.job_type
$$;
