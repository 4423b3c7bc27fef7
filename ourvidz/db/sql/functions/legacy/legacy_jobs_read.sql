-- Returns the jobs of the legacy system. Reads through jsonb: which columns that table has, only its own project knows.
create or replace function ourvidz.legacy_jobs_read(p_now timestamptz)
returns table (id uuid, user_id uuid, job_type text, status text, older_status text, waited boolean, verified boolean, level smallint,
               created_at timestamptz, completed_at timestamptz, project_id uuid, video_id uuid, image_id uuid, prompt text, metadata jsonb,
               error_message text, format text, quality text, model_type text, worker_type text)
language plpgsql stable set timezone = 'UTC'  -- for instants stored without a time zone
as $$
begin
  return query execute $query$
    select (j->>'id')::uuid, coalesce((j->>'user_id')::uuid, '00000000-0000-0000-0000-000000000000'), coalesce(j->>'job_type', 'unknown'),
           word.status,
           case when j->>'status' in ('queued', 'pending', 'processing', 'enhancing', 'generating', 'uploading', 'completed', 'failed', 'cancelled')
                then j->>'status' else 'other' end, word.status is null,
           coalesce(profile.age_verified, false), coalesce(plan.level, 0::smallint),
           at.created, coalesce((j->>'completed_at')::timestamptz, (j->>'updated_at')::timestamptz, at.created),
           coalesce((j->>'project_id')::uuid, video.project_id), video.id, image.id,
           left(trim(coalesce(project.enhanced_prompt, project.original_prompt, j->'metadata'->>'prompt')), 4000),
           case when jsonb_typeof(j->'metadata') = 'object' then j->'metadata' else '{}' end,
           j->>'error_message', j->>'format', j->>'quality', j->>'model_type', j->>'worker_type'
    from (select to_jsonb(o) as j from ourvidz.older_jobs as o) as older
    -- The legacy system's words for an end; any other word means that the job was waiting or running.
    left join (values ('completed', 'completed'), ('complete', 'completed'), ('succeeded', 'completed'), ('failed', 'failed'), ('error', 'failed'),
                      ('cancelled', 'cancelled'), ('canceled', 'cancelled')) as word (older, status) on word.older = lower(j->>'status')
    cross join lateral (select least(coalesce((j->>'created_at')::timestamptz, $1), $1) as created) as at
    left join lateral (select age_verified, subscription_status from public.profiles where id = (j->>'user_id')::uuid limit 1) as profile on true
    left join ourvidz.plan_words as said on said.word = profile.subscription_status
    left join ourvidz.plans as plan on plan.name = said.plan
    -- By key, however few rows there are. A reference to a deleted row is dropped.
    left join lateral (select id, project_id from public.videos where id = (j->>'video_id')::uuid limit 1) as video on true
    left join lateral (select id from public.images where id = (j->>'image_id')::uuid limit 1) as image on true
    left join lateral (select enhanced_prompt, original_prompt from public.projects
                       where id = coalesce((j->>'project_id')::uuid, video.project_id) limit 1) as project on true
  $query$ using p_now;
end
$$;
