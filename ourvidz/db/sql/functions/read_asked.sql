-- What is asked for, made whole: an id, the lane, the plan's priority, the type's own settings where none are given. Checks nothing.
create or replace function ourvidz.read_asked(p_jobs jsonb) returns ourvidz.asked_job[]
language plpgsql
as $$
begin
  -- The digest covers what was asked, before a seed is drawn: a repeated request must equal itself. `request` is its body where the job
  -- was made out of more than that (a project's prompt, say). metadata.rerouted is ours to write.
  return (select array_agg(row(given.ord, coalesce(a.id, gen_random_uuid()), a.user_id, a.job_type, ourvidz.lane_of(kind.family, a.settings),
                       a.idempotency_key, coalesce(plan.level, 0) * 2 + kind.fast::integer, a.run_at, trim(a.prompt), a.negative_prompt,
                       ourvidz.whole_settings(kind, a.settings), coalesce(a.metadata, '{}') - 'rerouted', a.project_id, a.video_id, a.image_id,
                       sha256(convert_to(coalesce(given.j->'request', given.j - '{id,run_at}'::text[])::text, 'UTF8'))
                       )::ourvidz.asked_job order by given.ord)
  from jsonb_array_elements(p_jobs) with ordinality as given (j, ord)
  cross join lateral jsonb_populate_record(null::ourvidz.asked_job, given.j) as a
  left join ourvidz.job_types as kind on kind.name = a.job_type
  left join public.profiles as profile on profile.id = a.user_id
  left join ourvidz.plan_words as said on said.word = profile.subscription_status
  left join ourvidz.plans as plan on plan.name = said.plan);
end
$$;
