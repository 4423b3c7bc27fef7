-- Counts a job's delivered outputs. artifact_uploaded, which follows the screens, marks them; from then on their user may read them
-- (ourvidz.readable). A video is one output; a thumbnail is part of its own.
create or replace function ourvidz.delivered(p_job uuid) returns bigint
language sql stable
as $$ select count(*) from public.artifacts where job_id = p_job and kind <> 'thumbnail' and uploaded_at is not null $$;

-- Returns how many outputs were asked for.
create or replace function ourvidz.outputs_asked(p_job uuid) returns bigint
language sql stable
as $$ select coalesce((select (settings->>'images')::bigint from public.job_payloads where job_id = p_job), 1) $$;

-- Returns the price of one output without prompt enhancement: for a type that enhances, the price of the same type that does not.
create or replace function ourvidz.price_without_enhancement(k ourvidz.job_types) returns bigint
language sql stable
as $$
  select coalesce(max(p.price), k.price)::bigint from ourvidz.job_types as p
  where k.enhance and not p.enhance and not p.init_image and (p.family, p.video, p.fast) = (k.family, k.video, k.fast) and p.price < k.price
$$;

-- Returns how many of a job's held tokens are charged at its end: a share for each output delivered since the event that held them
-- (p_since), reduced to the plain price's part where the prompt was not enhanced. A remainder stays with the user (integer division). A
-- screen's final refusal withdraws all outputs and costs nothing.
create or replace function ourvidz.charge_due(e public.job_events, p_held bigint, p_since integer) returns bigint
language sql stable
as $$
  select case when e.type = 'failed' and coalesce((e.data->>'final')::boolean, false) then 0
              when not j.enhanced and k.enhance then p_held * fresh * ourvidz.price_without_enhancement(k) / (owed * greatest(k.price, 1))
              else p_held * fresh / owed end
  from (
    select least(ourvidz.delivered(e.job_id) - earlier, owed) as fresh, owed
    from (
      select earlier, greatest(ourvidz.outputs_asked(e.job_id) - earlier, 1) as owed
      from (select coalesce((select (h.data->>'delivered')::bigint from public.job_events as h
                             where h.job_id = e.job_id and h.version = p_since), 0) as earlier) as counted
    ) as asked
  ) as shares
  cross join (select enhanced, job_type from public.jobs where id = e.job_id limit 1) as j
  left join ourvidz.job_types as k on k.name = j.job_type
$$;

-- Returns the price of a retry: that of the outputs not delivered yet. Delivered ones are neither made nor charged again.
create or replace function ourvidz.retry_price(j public.jobs) returns bigint
language sql stable
as $$
  select kind.price::bigint * greatest(ourvidz.outputs_asked(j.id) - ourvidz.delivered(j.id), 0)
  from ourvidz.job_types as kind where kind.name = j.job_type
$$;
