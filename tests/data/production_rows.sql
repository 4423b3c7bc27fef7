-- Rows as OurVidz's own front end, functions and workers leave them. Ids tell the kind: …-4001-… users' jobs, …-4002-… images, …-4003-…
-- videos. Users: a anna, who only made pictures; b boris, who made himself an admin and gave himself plan, age and tokens; c clara, who is
-- on a plan; d dora, an admin by app_metadata; e a second "anna", who got no profile because the username was taken.
insert into auth.users (id, email, raw_app_meta_data, raw_user_meta_data) values
  ('00000000-0000-4000-8000-00000000000a', 'anna@example.org', '{"provider": "email"}', '{}'),
  ('00000000-0000-4000-8000-00000000000b', 'boris@example.org', '{"provider": "email"}', '{"username": "boris_the_great"}'),
  ('00000000-0000-4000-8000-00000000000c', 'clara@example.org', '{"provider": "google"}', '{}'),
  ('00000000-0000-4000-8000-00000000000d', 'dora@example.org', '{"provider": "email", "role": "admin"}', '{}'),
  ('00000000-0000-4000-8000-00000000000e', 'anna@elsewhere.example', '{"provider": "email"}', '{}');
insert into public.user_roles (user_id, role) values
  ('00000000-0000-4000-8000-00000000000b', 'admin'), ('00000000-0000-4000-8000-00000000000c', 'premium_user'),
  ('00000000-0000-4000-8000-00000000000d', 'admin');
update public.profiles set token_balance = 999999, subscription_status = 'creator', age_verified = true where username = 'boris_the_great';
update public.profiles set token_balance = 340, subscription_status = 'pro' where username = 'clara';
update public.profiles set subscription_status = null, token_balance = -3, age_verified = null where username = 'dora';

insert into public.characters (id, user_id, name, description, traits, appearance_tags, image_url) values
  ('00000000-0000-4004-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'Mara', 'a keeper of a lighthouse', 'calm', '{red hair,"green, eyes"}', null),
  ('00000000-0000-4004-8000-000000000002', '00000000-0000-4000-8000-00000000000c', 'Tom', 'a fisherman', null, null, 'https://example.org/tom.png');
insert into public.projects (id, user_id, title, original_prompt, enhanced_prompt, media_type, duration, scene_count, workflow_step, character_id) values
  ('00000000-0000-4005-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'Coast', 'a lighthouse', 'a lighthouse at dusk, long exposure', 'video', 10, 2,
   'storyboard_generation', '00000000-0000-4004-8000-000000000001'),
  ('00000000-0000-4005-8000-000000000002', '00000000-0000-4000-8000-00000000000c', null, 'a harbour', null, 'image', 0, 1, 'configuration', null);
insert into public.scenes (project_id, scene_number, description, enhanced_prompt, approved) values
  ('00000000-0000-4005-8000-000000000001', 1, 'the lighthouse from the sea', null, true),
  ('00000000-0000-4005-8000-000000000001', 2, 'the keeper at the window', 'a keeper, backlit', false);

-- Returns the metadata that the front end and the deployed queue-job put into a job.
create function pg_temp.asked(p_type text, p_prompt text, p_user text, p_more jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object(
           'model_variant', case when sdxl then 'lustify_sdxl' else 'wan_2_1_1_3b' end, 'num_images', case when sdxl then 3 else 1 end,
           'credits', case when p_type like 'sdxl%' then 1 when p_type like 'image7b%' then 2 when p_type like 'video7b%' then 4 else 3 end,
           'model_type', case when sdxl then 'sdxl' else 'wan' end, 'is_sdxl', sdxl, 'prompt', p_prompt,
           'queue', case when sdxl then 'sdxl_queue' else 'wan_queue' end, 'bucket', p_type, 'generation_format', p_type, 'enhanced_tracking', true,
           'client_timestamp', '2025-07-10T09:00:00.000Z', 'batch_count', 1)
         || jsonb_build_object(
           'dual_worker_routing', true, 'negative_prompt_supported', sdxl, 'prompt_length', length(p_prompt), 'prompt_word_count', 4,
           'generation_timestamp', '2025-07-10T09:00:01.000Z', 'edge_function_version', '2.1.0',
           'expected_generation_time', case when p_type like 'image%' then 25 else 180 end,
           'sample_steps', case when fast then 25 else 50 end, 'sample_guide_scale', case when fast then 6.5 else 7.5 end,
           'sample_solver', 'unipc', 'sample_shift', 5.0, 'content_type', case when p_type like 'video%' then 'video' else 'image' end,
           'file_extension', case when p_type like 'video%' then 'mp4' else 'png' end, 'user_id', p_user, 'character_id', null)
         || case when sdxl then jsonb_build_object('negative_prompt', 'bad anatomy, low quality', 'negative_prompt_generation_error', null) else '{}' end
         || p_more
  from (select p_type like 'sdxl%' as sdxl, p_type like '%fast%' as fast) as kind $$;

-- Every type, in each of the four statuses, of the three users in turn. The last two digits: type 0–9, status 0–3.
insert into public.jobs (id, user_id, job_type, status, metadata, format, quality, model_type, created_at, started_at, completed_at, error_message, project_id)
select format('00000000-0000-4001-8000-0000000000%s%s', t.n, s.n)::uuid, u.id, t.name, s.status,
       pg_temp.asked(t.name, format('a quiet harbour, number %s', t.n * 10 + s.n), u.id::text)
         || case when s.status = 'completed' and t.name not like 'video%' then
              jsonb_build_object('primary_asset', format('%s/made_%s_0.png', u.id, t.n), 'seed', 4242 + t.n, 'generation_time', 31.5,
                                 'all_assets', jsonb_build_array(format('%s/made_%s_0.png', u.id, t.n), format('%s/made_%s_1.png', u.id, t.n)),
                                 'callback_processed_at', '2025-07-10T09:01:00.000Z', 'callback_debug', '{"job_id": "x"}'::jsonb) else '{}' end,
       case when t.name like 'video%' then 'video' else 'image' end, case when t.name like '%fast%' then 'fast' else 'high' end, t.name,
       now() - case s.status when 'queued' then interval '2 hours' when 'processing' then interval '9 days' else interval '30 days' end,
       case when s.status <> 'queued' then now() - interval '8 days' end, case when s.status in ('completed', 'failed') then now() - interval '8 days' end,
       case when s.status = 'failed' then 'CUDA out of memory' end,
       case when u.n = 0 and t.n = 0 then '00000000-0000-4005-8000-000000000001'::uuid end
from unnest(array['sdxl_image_fast', 'sdxl_image_high', 'image_fast', 'image_high', 'video_fast', 'video_high', 'image7b_fast_enhanced',
                  'image7b_high_enhanced', 'video7b_fast_enhanced', 'video7b_high_enhanced']) with ordinality as type (name, place)
cross join lateral (select type.place - 1 as n, type.name) as t
cross join (values (0, 'queued'), (1, 'processing'), (2, 'failed'), (3, 'processing to completed')) as state (n, word)
cross join lateral (select state.n, case state.n when 3 then 'processing' else state.word end as status) as s
join (values (0, '00000000-0000-4000-8000-00000000000a'::uuid), (1, '00000000-0000-4000-8000-00000000000b'), (2, '00000000-0000-4000-8000-00000000000c'))
  as u (n, id) on u.n = t.n % 3;
-- Jobs with references.
insert into public.jobs (id, user_id, job_type, status, metadata, format, quality, model_type, created_at) values
  ('00000000-0000-4001-8000-0000000000a0', '00000000-0000-4000-8000-00000000000a', 'sdxl_image_high', 'queued',
   pg_temp.asked('sdxl_image_high', 'a pier in fog', '00000000-0000-4000-8000-00000000000a', '{"reference_image": true, "reference_strength": 0.85,
     "reference_type": "character", "reference_source": "upload", "reference_url": "blob:https://ourvidz.example/0f1c", "reference_image_url": "blob:https://ourvidz.example/0f1c", "seed": 7}'),
   'image', 'high', 'sdxl_image_high', now() - interval '3 hours'),
  ('00000000-0000-4001-8000-0000000000a1', '00000000-0000-4000-8000-00000000000a', 'video_high', 'queued',
   pg_temp.asked('video_high', 'waves at night', '00000000-0000-4000-8000-00000000000a', '{"reference_image": true, "reference_strength": 0.5, "reference_type": "character",
     "start_reference_url": "https://abc.supabase.co/storage/v1/object/sign/image_fast/00000000-0000-4000-8000-00000000000a/made_2_0.png?token=x",
     "reference_image_url": "https://abc.supabase.co/storage/v1/object/sign/image_fast/00000000-0000-4000-8000-00000000000a/made_2_0.png?token=x"}'),
   'video', 'high', 'video_high', now() - interval '3 hours'),
  -- A job of the admin page, which the trigger refused to complete.
  ('00000000-0000-4001-8000-0000000000a2', '00000000-0000-4000-8000-00000000000d', 'image_high', 'processing',
   '{"prompt": "a test", "test_series": "anatomy", "test_tier": "artistic", "created_from": "admin_prompt_testing", "queue": "wan_queue"}',
   'image', 'high', 'image_high', now() - interval '20 days'),
  ('00000000-0000-4001-8000-0000000000a3', '00000000-0000-4000-8000-00000000000d', 'sdxl_image_fast', 'failed', '{"healthCheck": true}',
   'image', 'fast', 'sdxl_image_fast', now() - interval '20 days');

-- The pictures of each image job: three of an SDXL job, one of a Wan job, which has no index.
insert into public.images (user_id, job_id, prompt, generation_mode, status, format, quality, image_index, created_at, metadata)
select j.user_id, j.id, j.metadata->>'prompt', 'standalone', 'queued', 'png', j.quality, case when j.job_type like 'sdxl%' then i end, j.created_at,
       jsonb_build_object('model_type', j.metadata->>'model_type', 'is_sdxl', j.metadata->'is_sdxl', 'bucket', j.job_type, 'job_format', j.job_type,
                          'generation_timestamp', '2025-07-10T09:00:02.000Z')
from public.jobs as j cross join generate_series(0, case when j.job_type like 'sdxl%' then 2 else 0 end) as i
where j.format = 'image' and j.metadata ? 'generation_format';
update public.jobs as j set image_id = (select id from public.images where job_id = j.id order by image_index limit 1)
where j.format = 'image' and j.metadata ? 'generation_format';
update public.images as i
set status = 'completed', title = left(i.prompt, 60) || format(' (%s)', i.image_index + 1), image_url = format('%s/made_%s_%s.png', i.user_id, i.quality, i.image_index),
    thumbnail_url = format('%s/made_%s_%s.png', i.user_id, i.quality, i.image_index),
    metadata = j.metadata || jsonb_build_object('model_type', 'sdxl', 'is_sdxl', true, 'is_enhanced', false, 'original_job_id', j.id, 'image_index', i.image_index,
                                                'total_images', 3, 'job_type', j.job_type)
from public.jobs as j where j.id = i.job_id and j.job_type like 'sdxl%' and right(j.id::text, 1) = '3';
-- A row from before there was one row per picture; and one whose user is gone: user_id has no foreign key.
insert into public.images (id, user_id, title, prompt, status, image_url, image_urls, quality, metadata, nsfw_score, created_at) values
  ('00000000-0000-4002-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'Dunes', 'dunes', 'completed', null,
   '["00000000-0000-4000-8000-00000000000a/sdxl_old_0.png", "00000000-0000-4000-8000-00000000000a/sdxl_old_1.png"]', 'high', '{"is_sdxl": true}', 0.12, now() - interval '60 days'),
  ('00000000-0000-4002-8000-000000000002', '99999999-0000-4000-8000-000000000000', null, 'a field', 'pending', null, null, 'fast', null, null, now() - interval '70 days');

-- The video of each video job, linked as the front end does after inserting the job.
insert into public.videos (id, user_id, status, format, resolution, duration, created_at, project_id)
select format('00000000-0000-4003-8000-%s', right(j.id::text, 12))::uuid, j.user_id, 'queued', 'mp4', case when j.quality = 'fast' then '832x480' else '1280x720' end, 5,
       j.created_at, j.project_id
from public.jobs as j where j.format = 'video';
update public.jobs as j set video_id = format('00000000-0000-4003-8000-%s', right(j.id::text, 12))::uuid where j.format = 'video';
update public.videos as v
set status = 'completed', title = left(j.metadata->>'prompt', 60), video_url = format('%s/video_1752137000.mp4', v.user_id), signed_url = format('%s/video_1752137000.mp4', v.user_id),
    signed_url_expires_at = now(), thumbnail_url = 'system_assets/video-placeholder-thumbnail.png', completed_at = now(),
    metadata = j.metadata || jsonb_build_object('stored_path', format('%s/video_1752137000.mp4', v.user_id), 'thumbnail_placeholder', true)
from public.jobs as j where j.video_id = v.id and right(j.id::text, 1) = '3';
update public.videos as v set status = 'failed', error_message = 'CUDA out of memory' from public.jobs as j where j.video_id = v.id and j.status = 'failed';
update public.videos as v set status = 'processing' from public.jobs as j where j.video_id = v.id and right(j.id::text, 1) = '1' and j.status = 'processing';
insert into public.videos (id, user_id, project_id, status) values
  ('00000000-0000-4003-8000-000000000001', '00000000-0000-4000-8000-00000000000a', '00000000-0000-4005-8000-000000000001', 'draft');
update public.jobs set status = 'completed', completed_at = now() - interval '8 days' where right(id::text, 1) = '3' and metadata ? 'generation_format';

insert into public.usage_logs (user_id, action, format, quality, credits_consumed, metadata, created_at)
select user_id, job_type, format, quality, coalesce((metadata->>'credits')::numeric, 1), metadata, created_at from public.jobs
union all select user_id, job_type, format, quality, 1.0, '{"from": "the screen"}', created_at from public.jobs;
insert into public.model_test_results (user_id, job_id, image_id, model_type, model_version, prompt_text, overall_quality, test_series, test_tier, test_metadata) values
  ('00000000-0000-4000-8000-00000000000d', '00000000-0000-4001-8000-0000000000a2', null, 'WAN', '2.1', 'a test', 7, 'anatomy', 'artistic', '{"source": "page"}'),
  ('00000000-0000-4000-8000-00000000000d', null, '00000000-0000-4002-8000-000000000001', 'SDXL', 'lustify', 'another test', 0, 'light', 'unrestricted', '{}');
insert into public.system_config (config) values ('{"maxConcurrentJobs": 10, "defaultModel": "sdxl"}');
insert into public.user_activity_log (user_id, action, resource_type, resource_id, metadata, ip_address, user_agent) values
  ('00000000-0000-4000-8000-00000000000a', 'generated', 'image', '00000000-0000-4002-8000-000000000001', '{"page": "/workspace"}', '192.0.2.7', 'Mozilla/5.0'),
  (null, 'signed_out', null, null, null, null, null);
insert into public.admin_development_progress (feature_name, status) values ('queues', 'done');
insert into public.model_performance_logs (model_type, metrics) values ('WAN', '{"seconds": 251.5}');
insert into public.model_config_history (config) values ('{"steps": 25}');
insert into storage.objects (bucket_id, name, owner, metadata)
select j.job_type, asset, j.user_id, '{"size": 1200000, "mimetype": "image/png"}'::jsonb from public.jobs as j cross join jsonb_array_elements_text(j.metadata->'all_assets') as asset
union all select j.job_type, v.video_url, v.user_id, '{"size": 9000000, "mimetype": "video/mp4"}' from public.videos as v join public.jobs as j on j.video_id = v.id where v.video_url is not null
union all select 'reference_images', '00000000-0000-4000-8000-00000000000a/1752137000000-ref.png', '00000000-0000-4000-8000-00000000000a', '{"size": 52000, "mimetype": "image/png"}'
union all select 'system_assets', 'video-placeholder-thumbnail.png', null, '{"size": 900, "mimetype": "image/png"}';
