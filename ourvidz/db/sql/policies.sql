-- Lists who may do what with our tables, as data. A verb without a row here is granted to nobody; columns not listed may not be written.
-- Owners are exempt from policies, and functions run as the owner. This is one query: sql/apply grants what each row says and creates its
-- policy, `migrate --check` only reads it. Legacy policies on these tables are dropped: one too many allows what the others deny.
with said as (select
  -- In this form the planner evaluates auth.uid() once per statement and finds a user's rows by their index. An `or` for admins would
  -- prevent that: an admin's request becomes another role instead (public.before_request).
  'user_id = (select auth.uid())' as v_mine,
  'exists (select from public.jobs as j where j.id = job_id and j.user_id = (select auth.uid()))' as v_my_job,
  'user_id, job_type, format, quality, model_type, metadata, project_id, video_id, image_id, status' as v_jobs,
  'user_id, project_id, title, prompt, enhanced_prompt, generation_mode, status, metadata, format, quality, job_id, image_index, prompt_test_id'
    as v_images,
  'job_id, user_id, prompt, negative_prompt, settings, metadata, idempotency_key, enhanced_prompt, error_message, set_aside, source' as v_words,
  -- The legacy system's metadata and messages contain users' texts.
  (select string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = to_regclass('public.jobs')
   and attnum > 0 and not attisdropped and attname not in ('metadata', 'error_message')) as v_figures,
  -- Analysts also do not read a front end's names for a job: its type says as much. Text columns of later releases must be listed here.
  (select string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = to_regclass('public.jobs')
   and attnum > 0 and not attisdropped and (atttypid not in ('text'::regtype, 'jsonb'::regtype, 'varchar'::regtype)
                                            or attname in ('status', 'job_type', 'lane', 'crashed_on', 'error_class'))) as v_counted
), also as (select *,
  v_mine || ' and (project_id is null or exists (select from public.projects as p '
            'where p.id = project_id and p.user_id = (select auth.uid())))' as v_my_scene,
  v_mine || ' and (character_id is null or exists (select from public.characters as c '
            'where c.id = character_id and c.user_id = (select auth.uid())))' as v_my_project,
  -- A policy, not a constraint: the legacy system's rows have no bounds, and are still erased. NaN is above every number. Sizes: bound_row.
  v_mine || ' and coalesce(length(action) between 1 and 100 and length(format) <= 100 and length(quality) <= 100'
    ' and credits_consumed between 0 and 1000000, true)' as v_my_line
  from said
), tables as (select *,
  'project_id = any (array(select id from public.projects where user_id = (select auth.uid())))' as v_my_shot,
  -- Finds a user's outputs by the index on their folder, which holds all of them (artifact_generated is the only writer, and outputs of a
  -- deleted job are marked). A look-up of the job would read all of a user's jobs for a list of twenty.
  'uploaded_at is not null and deleted_at is null and not taken_down and split_part(path, ''/'', 1) = (select auth.uid())::text' as v_my_output,
  'name, description, traits, appearance_tags, image_url, reference_image_url' as v_character,
  'title, original_prompt, enhanced_prompt, media_type, duration, target_duration, scene_count, workflow_step, character_id, preview_url,'
    ' reference_image_url' as v_project,
  'scene_number, description, enhanced_prompt, image_url, approved, final_stitched_url' as v_scene,
  v_my_scene || ' and coalesce(length(format) <= 100 and length(resolution) <= 100, true)' as v_my_video,
  'overall_quality, technical_quality, content_quality, consistency, notes, test_metadata, success, job_id, image_id, video_id' as v_rating
  from also
), wanted as (select asked.* from tables cross join lateral (values
    ('authenticated', 'profiles', 'select', null, 'id = (select auth.uid())'),
    ('authenticated', 'profiles', 'insert', 'id', 'id = (select auth.uid())'),
    ('authenticated', 'profiles', 'update', 'last_login', 'id = (select auth.uid())'),
    ('authenticated', 'characters', 'select', null, v_mine),
    ('authenticated', 'characters', 'insert', 'user_id, ' || v_character, v_mine),
    ('authenticated', 'characters', 'update', v_character, v_mine),
    ('authenticated', 'characters', 'delete', null, v_mine),
    ('authenticated', 'projects', 'select', null, v_mine),
    ('authenticated', 'projects', 'insert', 'user_id, ' || v_project, v_my_project),
    ('authenticated', 'projects', 'update', v_project, v_my_project),
    ('authenticated', 'projects', 'delete', null, v_mine),
    ('authenticated', 'scenes', 'select', null, v_my_shot),
    ('authenticated', 'scenes', 'insert', 'project_id, ' || v_scene, v_my_shot),
    ('authenticated', 'scenes', 'update', v_scene, v_my_shot),
    ('authenticated', 'scenes', 'delete', null, v_my_shot),
    -- Nobody assigns their own role: roles follow auth.users (ourvidz.roles_follow).
    ('authenticated', 'user_roles', 'select', null, v_mine),
    ('authenticated', 'user_activity_log', 'select', null, v_mine),
    ('authenticated', 'videos', 'select', null, v_mine || ' and not taken_down'),
    ('authenticated', 'videos', 'insert', 'user_id, project_id, scene_number, status, format, resolution', v_my_video),
    ('authenticated', 'videos', 'update', 'project_id, scene_number', v_my_scene),
    ('authenticated', 'videos', 'delete', null, v_mine),
    -- Bounds of an image row: ourvidz.images_check_insert.
    ('authenticated', 'images', 'select', null, v_mine || ' and not taken_down'),
    ('authenticated', 'images', 'insert', v_images, v_my_scene),
    ('authenticated', 'images', 'delete', null, v_mine),
    ('authenticated', 'jobs', 'select', null, v_mine || ' and not hidden'),
    ('authenticated', 'jobs', 'insert', v_jobs, v_mine),
    -- Requests: each becomes the verb that it means and writes nothing itself (ourvidz.api_change_job, api_delete_job).
    ('authenticated', 'jobs', 'update', 'status, error_message, image_id, video_id', v_mine || ' and not hidden'),
    ('authenticated', 'jobs', 'delete', null, v_mine || ' and not hidden'),
    -- A job's other rows are visible through the policy of jobs: none of a job that its owner deleted.
    ('authenticated', 'job_payloads', 'select', v_words, v_mine || ' and exists (select from public.jobs as j where j.id = job_id)'),
    ('authenticated', 'job_events', 'select', null, v_my_job),
    ('authenticated', 'artifacts', 'select', null, v_my_output),
    ('authenticated', 'usage_logs', 'select', null, v_mine),
    ('authenticated', 'usage_logs', 'insert', 'user_id, action, format, quality, credits_consumed, metadata', v_my_line),
    ('authenticated', 'consents', 'select', null, v_mine),
    -- For the deployed callback and our edge functions.
    ('service_role', 'profiles', 'select', null, 'true'),
    ('service_role', 'characters', 'select', null, 'true'),
    ('service_role', 'projects', 'select', null, 'true'),
    ('service_role', 'scenes', 'select', null, 'true'),
    ('service_role', 'user_roles', 'select', null, 'true'),
    ('service_role', 'model_test_results', 'select', null, 'true'),
    ('service_role', 'model_test_results', 'update', v_rating, 'true'),
    ('service_role', 'system_config', 'select', null, 'true'),
    ('service_role', 'user_activity_log', 'select', null, 'true'),
    ('service_role', 'videos', 'select', null, 'true'),
    ('service_role', 'images', 'select', null, 'true'),
    ('service_role', 'images', 'insert', v_images, 'true'),
    ('service_role', 'images', 'update', 'title, image_url, thumbnail_url, status, metadata, updated_at', 'true'),
    ('service_role', 'images', 'delete', null, 'true'),
    ('service_role', 'jobs', 'select', null, 'true'),
    ('service_role', 'jobs', 'insert', v_jobs, 'true'),
    ('service_role', 'jobs', 'update', 'status, metadata, error_message, completed_at', 'true'),
    ('service_role', 'artifacts', 'select', null, 'true'),
    ('service_role', 'usage_logs', 'insert', 'user_id, action, format, quality, credits_consumed, metadata', 'true'),
    ('service_role', 'usage_logs', 'select', null, 'true'),
    -- An admin sees everything, and of others' rows changes what the admin pages change: jobs, reviews, test results, settings.
    ('ourvidz_admin', 'profiles', 'select', null, 'true'),
    ('ourvidz_admin', 'characters', 'select', null, '(select ourvidz.admin_reads(''characters''))'),
    ('ourvidz_admin', 'projects', 'select', null, '(select ourvidz.admin_reads(''projects''))'),
    ('ourvidz_admin', 'scenes', 'select', null, '(select ourvidz.admin_reads(''scenes''))'),
    ('ourvidz_admin', 'user_roles', 'select', null, 'true'),
    ('ourvidz_admin', 'user_activity_log', 'select', null, 'true'),
    ('ourvidz_admin', 'model_test_results', 'select', null, '(select ourvidz.admin_reads(''model_test_results''))'),
    ('ourvidz_admin', 'model_test_results', 'insert', 'user_id, model_type, model_version, prompt_text, test_series, test_tier, test_category, ' || v_rating, 'true'),
    ('ourvidz_admin', 'model_test_results', 'update', v_rating, 'true'),
    ('ourvidz_admin', 'system_config', 'select', null, 'true'),
    ('ourvidz_admin', 'system_config', 'insert', 'id, config, updated_at', 'true'),
    ('ourvidz_admin', 'system_config', 'update', 'id, config, updated_at', 'true'),
    ('ourvidz_admin', 'videos', 'select', null, 'true'),
    ('ourvidz_admin', 'images', 'select', null, '(select ourvidz.admin_reads(''images''))'),
    ('ourvidz_admin', 'images', 'update', 'moderation_status, reviewed_at, reviewed_by, review_notes', 'true'),
    ('ourvidz_admin', 'jobs', 'select', null, '(select ourvidz.admin_reads(''jobs''))'),
    ('ourvidz_admin', 'jobs', 'update', 'status, error_message, image_id, video_id', 'true'),
    ('ourvidz_admin', 'jobs', 'delete', null, 'true'),
    -- Other users' texts are read through public.read_prompt, which records it; an admin's own like any user's (below).
    ('ourvidz_admin', 'job_payloads', 'select', v_words, v_mine),
    ('ourvidz_admin', 'job_events', 'select', null, 'true'),
    ('ourvidz_admin', 'artifacts', 'select', null, 'true'),
    ('ourvidz_admin', 'usage_logs', 'select', null, 'true'),
    ('ourvidz_admin', 'consents', 'select', null, 'true'),
    -- Executors and analysts read events and numbers.
    ('ourvidz_executor', 'jobs', 'select', v_figures, 'true'),
    ('ourvidz_executor', 'job_events', 'select', null, 'true'),
    ('ourvidz_executor', 'artifacts', 'select', null, 'true'),
    ('ourvidz_analyst', 'jobs', 'select', v_counted, 'true'),
    ('ourvidz_analyst', 'job_events', 'select', null, 'true'),
    ('ourvidz_analyst', 'artifacts', 'select', 'job_id, index, kind, claim_no, seed, media_type, width, height, frames, bytes, uploaded_at, created_at, deleted_at', 'true')
) as asked (role, name, verb, columns, whose)
)
select * from wanted
-- An admin's request runs as another role: on its own rows it may do what any user may.
union all
select 'ourvidz_admin', name, verb, columns, whose from wanted as own
where role = 'authenticated' and verb <> 'select' and name <> 'profiles'
  and not exists (select from wanted as more where (more.role, more.name, more.verb) = ('ourvidz_admin', own.name, own.verb))
