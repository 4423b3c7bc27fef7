-- Lists CHECKs of the product's tables, mostly on what users may write. NOT VALID: the legacy system's rows had no bounds, and stay. An
-- existing one of the same name with another definition is replaced.
drop table if exists pg_temp.wanted_checks cascade;
create temp table wanted_checks (n integer generated always as identity, relation text, name text, definition text);
insert into wanted_checks (relation, name, definition) values
  ('profiles', 'profiles_token_balance_check', 'check (token_balance >= 0)'),
  ('characters', 'characters_bounds', 'check (length(name) between 1 and 200 and length(description) <= 4000 and length(traits) <= 4000
     and cardinality(appearance_tags) <= 100 and length(array_to_string(appearance_tags, '','')) <= 2000
     and length(image_url) <= 2000 and length(reference_image_url) <= 2000) not valid'),
  ('projects', 'projects_bounds', 'check (length(title) <= 200 and length(original_prompt) <= 4000 and length(enhanced_prompt) <= 4000
     and target_duration > 0 and duration >= 0 and scene_count between 0 and 1000
     and length(preview_url) <= 2000 and length(reference_image_url) <= 2000) not valid'),
  ('projects', 'projects_media_type_check', 'check (media_type in (''image'', ''video'')) not valid'),
  ('projects', 'projects_workflow_step_check', 'check (workflow_step in (''configuration'', ''character_selection'', ''story_breakdown'',
     ''storyboard_generation'', ''video_generation'', ''completed'')) not valid'),
  ('scenes', 'scenes_bounds', 'check (scene_number between 0 and 10000 and length(description) <= 4000 and length(enhanced_prompt) <= 4000
     and length(image_url) <= 2000 and length(final_stitched_url) <= 2000) not valid'),
  ('videos', 'videos_bounds', 'check (scene_number > 0) not valid'),
  ('model_test_results', 'model_test_results_bounds', 'check (length(prompt_text) <= 4000 and length(notes) <= 4000
     and length(test_metadata::text) <= 100000) not valid'),
  ('model_test_results', 'model_test_results_model_type_check', 'check (model_type in (''SDXL'', ''WAN'', ''LORA'')) not valid'),
  ('model_test_results', 'model_test_results_test_tier_check', 'check (test_tier in (''artistic'', ''explicit'', ''unrestricted'')) not valid'),
  ('model_test_results', 'model_test_results_scores', 'check (overall_quality between 0 and 10 and technical_quality between 0 and 10
     and content_quality between 0 and 10 and consistency between 0 and 10) not valid'),
  ('system_config', 'system_config_bounds', 'check (id = 1 and length(config::text) <= 100000) not valid');

-- Unique keys that our writes and foreign keys need.
drop table if exists pg_temp.wanted_keys cascade;
create temp table wanted_keys (n integer generated always as identity, relation text, columns text[]);
insert into wanted_keys (relation, columns) values
  ('profiles', '{id}'), ('user_roles', '{user_id,role}'), ('characters', '{id}'), ('projects', '{id}'), ('scenes', '{id}'),
  ('scenes', '{project_id,scene_number}'), ('videos', '{id}'), ('images', '{id}'), ('usage_logs', '{id}'), ('model_test_results', '{id}'),
  ('system_config', '{id}'), ('user_activity_log', '{id}');

-- Tables whose policies only this program defines.
drop table if exists pg_temp.our_tables cascade;
create temp table our_tables as select distinct relation as name from wanted_columns union select 'jobs';

-- The columns of our public.jobs that views of the legacy system may read.
drop table if exists pg_temp.our_jobs_columns cascade;
create temp table our_jobs_columns (name text, type text);
insert into our_jobs_columns values
  ('id', 'uuid'), ('status', 'text'), ('user_id', 'uuid'), ('job_type', 'text'), ('project_id', 'uuid'), ('video_id', 'uuid'), ('image_id', 'uuid'),
  ('attempts', 'integer'), ('created_at', 'timestamptz'), ('updated_at', 'timestamptz'), ('completed_at', 'timestamptz'), ('format', 'text'),
  ('quality', 'text'), ('model_type', 'text'), ('worker_type', 'text'), ('metadata', 'jsonb'), ('error_message', 'text');
