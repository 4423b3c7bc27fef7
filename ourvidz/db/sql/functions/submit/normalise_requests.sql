-- Normalises requests, alike for every way in (docs/decisions/0030). Returns for each an id, the lane, the plan's priority, the prompt (the
-- request's, else its project's, else metadata's), whole settings, and what was set aside. Checks no value: check_requests does.
create or replace function ourvidz.normalise_requests(p_jobs jsonb, p_source text) returns ourvidz.asked_job[]
language plpgsql
as $$
declare
  v_requests ourvidz.request[];
  v_different ourvidz.request[];
  v_first bigint[];  -- per request: the first one with the same content
begin
  perform ourvidz.check_request(given.j, p_source in ('rpc', 'row')) from jsonb_array_elements(p_jobs) as given (j) where given.j ?| '{config,metadata,settings}';
  v_requests := ourvidz.read_requests(p_jobs, p_source);
  -- A batch repeats the same request many times: settings are read once for each different request, from its first occurrence.
  select array_agg(first.ord order by each.ord) into v_first
  from (select min(r.ord) as ord, array_agg(r.ord) as ords from unnest(v_requests) as r
        group by r.user_id, r.job_type, r.asked_type, r.config, r.metadata, r.settings) as first
  cross join lateral unnest(first.ords) as each (ord);
  select array_agg(r) into v_different from unnest(v_requests) as r where r.ord = v_first[r.ord];
  return (
    with meant as materialized (
      select d.ord, its.chosen, its.aside, kind.family, kind.fast,
             ourvidz.complete_settings(kind, its.chosen - '{compel_enabled,compel_weights}'::text[]) as whole
      from unnest(v_different) as d
      left join (select * from ourvidz.read_settings(v_different) offset 0) as its on its.ord = d.ord
      left join ourvidz.job_types as kind on kind.name = d.job_type
    )
    select array_agg(row(r.ord, coalesce(r.id, gen_random_uuid()), r.user_id, r.job_type, ourvidz.lane_of(m.family, m.whole),
                         r.idempotency_key, coalesce(plan.level, 0) * 2 + m.fast::integer, r.run_at,
                         case when m.chosen ? 'compel_weights' then ourvidz.weighted_prompt(said.prompt, m.chosen) else said.prompt end,
                         nullif(trim(coalesce(r.negative_prompt, r.metadata->>'negative_prompt', r.metadata->>'negativePrompt')), ''),
                         m.whole, r.metadata, r.project_id, r.video_id, r.image_id, r.body_digest, m.aside, p_source, m.chosen
                         )::ourvidz.asked_job order by r.ord)
    from unnest(v_requests) as r
    left join meant as m on m.ord = v_first[r.ord]
    -- By key, however few rows there are.
    left join lateral (select subscription_status from public.profiles where id = r.user_id limit 1) as profile on true
    left join ourvidz.plan_words as word on word.word = profile.subscription_status
    left join ourvidz.plans as plan on plan.name = word.plan
    left join lateral (select enhanced_prompt, original_prompt from public.projects
                       where id = r.project_id and user_id = r.user_id limit 1) as project on true
    cross join lateral (select trim(coalesce(r.prompt, nullif(trim(project.enhanced_prompt), ''), nullif(trim(project.original_prompt), ''),
      case jsonb_typeof(r.metadata->'prompt') when 'string' then r.metadata->>'prompt' end)) as prompt) as said);
end
$$;
