-- OurVidz's production database of July 2025, on top of what Supabase provides (supabase_shape.py). Run by the database's owner, like its
-- migrations were. Written from a description of that database; the bodies of views are ours.

create extension if not exists plpgsql;
create type public.app_role as enum ('admin', 'moderator', 'premium_user', 'basic_user', 'guest');

create table public.profiles (
  id uuid not null constraint profiles_pkey primary key constraint profiles_id_fkey references auth.users on delete cascade,
  username text constraint profiles_username_key unique,
  subscription_status text default 'inactive'
    constraint profiles_subscription_status_check check (subscription_status in ('inactive', 'starter', 'pro', 'creator')),
  token_balance integer default 100,
  created_at timestamptz default now(), updated_at timestamptz default now(), age_verified boolean default false);
create table public.user_roles (
  id uuid not null default gen_random_uuid() primary key,
  user_id uuid not null constraint user_roles_user_id_fkey references auth.users on delete cascade, role public.app_role not null,
  created_at timestamptz default now(), constraint user_roles_user_id_role_key unique (user_id, role));
create table public.characters (
  id uuid not null default gen_random_uuid() primary key,
  user_id uuid not null constraint characters_user_id_fkey references public.profiles on delete cascade,
  name text not null, description text not null, traits text, appearance_tags text[], image_url text,
  created_at timestamptz default now(), updated_at timestamptz default now());
create table public.projects (
  id uuid not null default gen_random_uuid() primary key,
  user_id uuid not null constraint projects_user_id_fkey references public.profiles on delete cascade,
  title text, original_prompt text not null, enhanced_prompt text,
  media_type text not null constraint projects_media_type_check check (media_type in ('image', 'video')),
  duration integer default 0, scene_count integer default 1,
  workflow_step text default 'configuration' constraint projects_workflow_step_check check (workflow_step in
    ('configuration', 'character_selection', 'story_breakdown', 'storyboard_generation', 'video_generation', 'completed')),
  character_id uuid constraint projects_character_id_fkey references public.characters,
  created_at timestamptz default now(), updated_at timestamptz default now(), preview_url text, reference_image_url text);
create table public.scenes (
  id uuid not null default gen_random_uuid() primary key,
  project_id uuid not null constraint scenes_project_id_fkey references public.projects on delete cascade,
  scene_number integer not null, description text not null, enhanced_prompt text, image_url text, approved boolean default false,
  created_at timestamptz default now(), updated_at timestamptz default now(), final_stitched_url text,
  constraint scenes_project_id_scene_number_key unique (project_id, scene_number));
create table public.videos (
  id uuid not null default gen_random_uuid() primary key,
  project_id uuid constraint videos_project_id_fkey references public.projects on delete cascade,
  user_id uuid not null constraint videos_user_id_fkey references public.profiles on delete cascade,
  thumbnail_url text, video_url text,
  status text default 'draft' constraint videos_status_check check (status in
    ('draft', 'queued', 'processing', 'generating', 'completed', 'failed', 'cancelled')),
  duration integer default 5, resolution text default '720p', format text default 'mp4', created_at timestamptz default now(),
  completed_at timestamptz, expires_at timestamptz default (now() + interval '30 days'), preview_url text, reference_image_url text,
  updated_at timestamptz default now(), error_message text, signed_url text, signed_url_expires_at timestamptz, metadata jsonb, title text);
create table public.images (
  id uuid not null default gen_random_uuid() primary key, user_id uuid not null,
  project_id uuid constraint images_project_id_fkey references public.projects on delete cascade,
  title text, prompt text not null, enhanced_prompt text, image_url text, thumbnail_url text, generation_mode text not null default 'standalone',
  status text not null default 'pending', metadata jsonb, created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(), image_urls jsonb, format text default 'png', quality text default 'fast', signed_url text,
  signed_url_expires_at timestamptz, prompt_test_id uuid, test_metadata jsonb, file_size bigint, nsfw_score numeric(3,2),
  moderation_status text default 'pending', reviewed_at timestamptz,
  reviewed_by uuid constraint images_reviewed_by_fkey references public.profiles, review_notes text, job_id uuid, image_index integer);
create table public.jobs (
  id uuid not null default gen_random_uuid() primary key,
  video_id uuid constraint jobs_video_id_fkey references public.videos on delete cascade,
  user_id uuid not null constraint jobs_user_id_fkey references public.profiles on delete cascade,
  job_type text not null constraint jobs_job_type_check check (job_type in
    ('sdxl_image_fast', 'sdxl_image_high', 'image_fast', 'image_high', 'video_fast', 'video_high', 'image7b_fast_enhanced',
     'image7b_high_enhanced', 'video7b_fast_enhanced', 'video7b_high_enhanced')),
  status text default 'queued' constraint jobs_status_check check (status in ('queued', 'processing', 'completed', 'failed')),
  error_message text, attempts integer default 0, max_attempts integer default 3, metadata jsonb, created_at timestamptz default now(),
  started_at timestamptz, completed_at timestamptz, project_id uuid constraint jobs_project_id_fkey references public.projects,
  image_id uuid constraint jobs_image_id_fkey references public.images on delete cascade,
  format text constraint jobs_format_check check (format in ('image', 'video')),
  quality text constraint jobs_quality_check check (quality in ('fast', 'high')),
  model_type text, prompt_test_id uuid, test_metadata jsonb, moderation_status text default 'pending', reviewed_at timestamptz,
  reviewed_by uuid constraint jobs_reviewed_by_fkey references public.profiles, review_notes text);
alter table public.images add constraint images_job_id_fkey foreign key (job_id) references public.jobs on delete cascade;
create table public.usage_logs (
  id uuid not null default gen_random_uuid() primary key,
  user_id uuid not null constraint usage_logs_user_id_fkey references public.profiles on delete cascade,
  action text not null, credits_consumed numeric(10,2) default 1.0, metadata jsonb, created_at timestamptz default now(), format text, quality text);
create table public.model_test_results (
  id uuid not null default gen_random_uuid() primary key,
  user_id uuid constraint model_test_results_user_id_fkey references auth.users on delete cascade,
  model_type varchar(20) not null constraint model_test_results_model_type_check check (model_type in ('SDXL', 'WAN', 'LORA')),
  model_version varchar(50), prompt_text text not null, success boolean not null default true,
  overall_quality integer constraint model_test_results_overall_quality_check check (overall_quality between 0 and 10),
  technical_quality integer constraint model_test_results_technical_quality_check check (technical_quality between 0 and 10),
  content_quality integer constraint model_test_results_content_quality_check check (content_quality between 0 and 10),
  consistency integer constraint model_test_results_consistency_check check (consistency between 0 and 10),
  test_series varchar(100) not null,
  test_tier varchar(50) not null constraint model_test_results_test_tier_check check (test_tier in ('artistic', 'explicit', 'unrestricted')),
  test_category varchar(50), test_metadata jsonb not null default '{}',
  job_id uuid constraint model_test_results_job_id_fkey references public.jobs on delete set null,
  image_id uuid constraint model_test_results_image_id_fkey references public.images on delete set null,
  video_id uuid constraint model_test_results_video_id_fkey references public.videos on delete set null,
  generation_time_ms integer, file_size_bytes bigint, notes text, created_at timestamptz default now(), updated_at timestamptz default now());
create table public.system_config (
  id bigint not null default 1 primary key, config jsonb not null default '{}', created_at timestamptz default now(),
  updated_at timestamptz default now());
create table public.user_activity_log (
  id uuid not null default gen_random_uuid() primary key,
  user_id uuid constraint user_activity_log_user_id_fkey references public.profiles on delete cascade,
  action text not null, resource_type text, resource_id text, metadata jsonb default '{}', ip_address inet, user_agent text,
  created_at timestamptz default now());
create table public.admin_development_progress (id uuid default gen_random_uuid() primary key, feature_name text not null, status text, created_at timestamptz default now());
create table public.model_performance_logs (id uuid default gen_random_uuid() primary key, model_type text not null, metrics jsonb, created_at timestamptz default now());
create table public.model_config_history (id uuid default gen_random_uuid() primary key, config jsonb, created_at timestamptz default now());
create index idx_images_user_id on public.images (user_id);
create index idx_images_job_id on public.images (job_id);
create index idx_jobs_user_id on public.jobs (user_id);
create index idx_jobs_status on public.jobs (status);

-- Functions and triggers.
create function public.has_role(_user_id uuid, _role public.app_role) returns boolean language sql stable security definer set search_path = '' as
$$ select exists (select 1 from public.user_roles where user_id = _user_id and role = _role) $$;
create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.profiles (id, username, token_balance, subscription_status)
  values (new.id, coalesce(new.raw_user_meta_data->>'username', split_part(new.email, '@', 1)), 100, 'inactive');
  insert into public.user_roles (user_id, role) values (new.id, 'basic_user');
  return new;
exception when others then
  raise warning 'handle_new_user: %', sqlerrm;
  return new;
end $$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();

create function public.handle_updated_at() returns trigger language plpgsql as $$ begin new.updated_at = now(); return new; end $$;
do $$
declare t text;
begin
  foreach t in array array['profiles', 'characters', 'projects', 'scenes', 'videos', 'images', 'model_test_results', 'system_config'] loop
    execute format('create trigger handle_%1$s_updated_at before update on public.%1$I for each row execute function public.handle_updated_at()', t);
  end loop;
end $$;
create function public.validate_job_completion() returns trigger language plpgsql as $$
begin
  if new.status = 'completed' and (old.status is null or old.status <> 'completed') then
    if new.job_type like '%image%' and new.image_id is null then
      raise exception 'Image job cannot be completed without image_id';
    elsif new.job_type like '%video%' and new.video_id is null then
      raise exception 'Video job cannot be completed without video_id';
    end if;
  end if;
  return new;
end $$;
create trigger validate_job_completion_trigger before update on public.jobs for each row execute function public.validate_job_completion();
create function public.validate_video_urls() returns trigger language plpgsql as $$
begin
  if new.status = 'completed' then
    if new.video_url is null or new.video_url = '' then
      raise exception 'Video cannot be completed without video_url';
    end if;
    if new.signed_url is null or new.signed_url = '' then
      new.signed_url := new.video_url;
      new.signed_url_expires_at := now() + interval '24 hours';
    end if;
  end if;
  return new;
end $$;
create trigger validate_video_urls_trigger before insert or update on public.videos for each row execute function public.validate_video_urls();
create function public.validate_video_expires_at() returns trigger language plpgsql as $$
begin
  if new.expires_at is not null and new.expires_at <= new.created_at then
    raise exception 'expires_at must be after created_at';
  end if;
  return new;
end $$;
create trigger validate_video_expires_at_trigger before insert or update on public.videos for each row execute function public.validate_video_expires_at();
create function public.validate_moderation_status() returns trigger language plpgsql as $$
begin
  if new.moderation_status is not null and new.moderation_status not in ('pending', 'approved', 'rejected', 'flagged') then
    raise exception 'Invalid moderation_status: %', new.moderation_status;
  end if;
  return new;
end $$;
create trigger validate_images_moderation_status_trigger before insert or update on public.images for each row execute function public.validate_moderation_status();
create trigger validate_jobs_moderation_status_trigger before insert or update on public.jobs for each row execute function public.validate_moderation_status();
create function public.clean_orphaned_jobs() returns void language sql security definer as
$$ delete from public.jobs where status in ('queued', 'processing') and created_at < now() - interval '7 days' $$;
create function public.log_user_activity(p_action text, p_resource_type text default null, p_resource_id text default null, p_metadata jsonb default '{}')
returns void language sql security definer as $$
  insert into public.user_activity_log (user_id, action, resource_type, resource_id, metadata)
  values (auth.uid(), p_action, p_resource_type, p_resource_id, p_metadata) $$;
create function public.get_system_stats(p_days integer default 7) returns jsonb language sql security definer as $$
  select jsonb_build_object('users', (select count(*) from public.profiles),
                            'jobs', (select count(*) from public.jobs where created_at > now() - make_interval(days => p_days))) $$;

-- They run as their owner, to whom policies do not apply: whoever may read them reads everybody's rows.
create view public.user_analytics as
  select p.id, p.username, p.subscription_status, p.token_balance, count(distinct j.id) as total_jobs,
         count(distinct j.id) filter (where j.status = 'completed') as completed_jobs, count(distinct i.id) as total_images, max(j.created_at) as last_job
  from public.profiles as p left join public.jobs as j on j.user_id = p.id left join public.images as i on i.user_id = p.id
  group by p.id, p.username, p.subscription_status, p.token_balance;
create view public.content_moderation_analytics as
  select 'image' as content_type, moderation_status, count(*) as count, avg(nsfw_score) as avg_nsfw_score from public.images group by moderation_status
  union all select 'job', moderation_status, count(*), null from public.jobs group by moderation_status;
create view public.model_test_analytics as
  select r.id, r.model_type, r.test_series, r.test_tier, r.overall_quality, j.status as job_status, j.quality as job_quality, r.prompt_text
  from public.model_test_results as r left join public.jobs as j on j.id = r.job_id;
create view public.model_test_summary as
  select model_type, test_series, test_tier, count(*) as total_tests, avg(overall_quality) as avg_overall_quality
  from public.model_test_results group by model_type, test_series, test_tier;

-- Row-level security, to public, as the legacy system wrote it.
do $$
declare
  t record;
begin
  for t in select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' loop
    execute format('alter table public.%I enable row level security', t.relname);
  end loop;
  for t in select * from (values ('Characters', 'characters'), ('Jobs', 'jobs'), ('Projects', 'projects'), ('Videos', 'videos'), ('Usage logs', 'usage_logs')) as v (label, name) loop
    execute format('create policy %I on public.%I for all using (auth.uid() = user_id or public.has_role(auth.uid(), ''admin''))',
                   t.label || ' access policy', t.name);
  end loop;
  for t in select * from (values ('select', 'using'), ('update', 'using'), ('insert', 'with check')) as v (verb, clause) loop
    execute format('create policy %I on public.profiles for %s %s (auth.uid() = id or public.has_role(auth.uid(), ''admin''))',
                   format('Profiles %s policy', t.verb), t.verb, t.clause);
  end loop;
  for t in select * from (values ('select', 'using'), ('update', 'using'), ('delete', 'using'), ('insert', 'with check')) as v (verb, clause) loop
    execute format('create policy %I on public.user_roles for %s %s (auth.uid() = user_id or public.has_role(auth.uid(), ''admin''))',
                   format('User roles %s policy', t.verb), t.verb, t.clause);
  end loop;
  for t in select * from (values ('view', 'select', 'using'), ('create', 'insert', 'with check'), ('update', 'update', 'using'), ('delete', 'delete', 'using')) as v (word, verb, clause) loop
    execute format('create policy %I on public.images for %s %s (auth.uid() = user_id)', format('Users can %s their own images', t.word), t.verb, t.clause);
  end loop;
end $$;
create policy "Scenes access policy" on public.scenes for all using (exists (
  select 1 from public.projects as p where p.id = project_id and (p.user_id = auth.uid() or public.has_role(auth.uid(), 'admin'))));
create policy "User activity log select policy" on public.user_activity_log for select using (auth.uid() = user_id or public.has_role(auth.uid(), 'admin'));
create policy "Admin access to model test results" on public.model_test_results for all using (public.has_role(auth.uid(), 'admin'));
create policy "Admin can manage system config" on public.system_config for all using (public.has_role(auth.uid(), 'admin'));

-- Realtime.
alter table public.images replica identity full;
alter table public.videos replica identity full;
alter table public.jobs replica identity full;
alter publication supabase_realtime add table public.images, public.videos, public.jobs;

-- Storage.
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
select id, id, open, size, types from (values
  ('sdxl_image_fast', false, 5242880, '{image/png,image/jpeg,image/webp}'::text[]),
  ('image_fast', false, 5242880, '{image/png,image/jpeg,image/webp}'),
  ('sdxl_image_high', false, 10485760, '{image/png,image/jpeg,image/webp}'),
  ('image_high', false, 10485760, '{image/png,image/jpeg,image/webp}'),
  ('reference_images', false, 10485760, '{image/png,image/jpeg,image/webp,image/gif}'),
  ('image7b_fast_enhanced', false, 20971520, '{image/png,image/jpeg,image/webp}'),
  ('image7b_high_enhanced', false, 20971520, '{image/png,image/jpeg,image/webp}'),
  ('video_fast', false, 52428800, '{video/mp4,video/mpeg,video/webm,video/quicktime}'),
  ('video_high', false, 209715200, '{video/mp4,video/mpeg,video/webm,video/quicktime}'),
  ('video7b_fast_enhanced', false, 104857600, '{video/mp4,video/webm}'),
  ('video7b_high_enhanced', false, 104857600, '{video/mp4,video/webm}'),
  ('system_assets', true, 5242880, null),
  ('videos', true, null, null)) as v (id, open, size, types);
