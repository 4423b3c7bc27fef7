-- Lists this program's writes to the product's tables: each is tried on a copy of the table with its checks and triggers. A sample is one
-- row: an insert, updates, a delete (an erasure's), in this order. 'row': written by others, and only needed for the next writes.
drop table if exists pg_temp.our_writes cascade;
create temp table our_writes (n integer generated always as identity, relation text, sample text, verb text, change jsonb);
insert into our_writes (relation, sample, verb, change)
select 'profiles', word, 'insert', jsonb_build_object('id', '00000000-0000-4000-8000-000000000000', 'subscription_status', word, 'token_balance', 0)
from unnest('{inactive,free,starter,pro,creator,premium}'::text[]) as word;
insert into our_writes (relation, sample, verb, change) values
  ('profiles', 'inactive', 'update', '{"email": "a@example.org", "username": "a"}'), ('profiles', 'inactive', 'update', '{"age_verified": true}'), ('profiles', 'inactive', 'update', '{"token_balance": 5000}'),
  ('profiles', 'inactive', 'update', '{"age_verified": false, "email": null, "last_login": null, "username": null}');
insert into our_writes (relation, sample, verb, change)
select 'user_roles', word, 'insert', jsonb_build_object('user_id', '00000000-0000-4000-8000-000000000000', 'role', word)
from unnest('{admin,basic_user}'::text[]) as word;
insert into our_writes (relation, sample, verb, change) values
  ('user_roles', 'admin', 'delete', null),
  ('usage_logs', 'an event''s', 'insert', '{"user_id": "00000000-0000-4000-8000-000000000000", "action": "job_completed", "format": "video", "quality": "high",
     "tokens_consumed": 40, "credits_consumed": 40, "metadata": {"job_type": "video_high"}, "job_id": "00000000-0000-4000-8000-000000000000", "job_version": 9}'),
  ('usage_logs', 'an event''s', 'update', '{"action": "erased", "format": null, "quality": null, "metadata": {}}'),
  ('videos', 'a scene', 'insert', '{"id": "00000000-0000-4000-8000-000000000000", "user_id": "00000000-0000-4000-8000-000000000000", "status": "draft"}');
-- Every status that a video or a scene of ours may have; completed together with its url, as the project's triggers require.
insert into our_writes (relation, sample, verb, change)
select 'videos', 'a scene', 'update', jsonb_build_object('status', word)
from unnest('{queued,previewing,preview_ready,generating,failed,cancelled,draft}'::text[]) as word;
insert into our_writes (relation, sample, verb, change) values
  ('videos', 'a scene', 'update', '{"status": "completed", "video_url": "u/j/1-0.mp4", "thumbnail_url": "u/j/1-0.webp", "preview_url": "u/j/1-0.png",
     "duration": 5, "resolution": "480x832", "title": "a pier in fog", "error_message": null, "metadata": {"bucket": "video_fast"}, "completed_at": "2100-01-01T00:00:00Z"}'),
  ('videos', 'a scene', 'delete', null),
  ('images', 'a picture', 'insert', '{"id": "00000000-0000-4000-8000-000000000000", "user_id": "00000000-0000-4000-8000-000000000000", "prompt": "a pier in fog",
     "status": "queued", "format": "png", "quality": "high", "image_index": 0, "job_id": "00000000-0000-4000-8000-000000000000", "metadata": {}}');
insert into our_writes (relation, sample, verb, change)
select 'images', 'a picture', 'update', jsonb_build_object('status', word) from unnest('{processing,generating,failed,cancelled}'::text[]) as word;
insert into our_writes (relation, sample, verb, change) values
  ('images', 'a picture', 'update', '{"status": "completed", "image_url": "u/j/1-0.png", "thumbnail_url": "u/j/1-0.webp", "title": "a pier in fog",
     "metadata": {"bucket": "image_fast", "seed": 4294967295}}'),
  ('images', 'a picture', 'delete', null),
  ('characters', 'an erased one', 'row', '{"user_id": "00000000-0000-4000-8000-000000000000", "name": "x", "description": ""}'), ('characters', 'an erased one', 'delete', null),
  ('projects', 'an erased one', 'row', '{"user_id": "00000000-0000-4000-8000-000000000000", "original_prompt": "x", "media_type": "image"}'), ('projects', 'an erased one', 'delete', null),
  ('scenes', 'an erased one', 'row', '{"project_id": "00000000-0000-4000-8000-000000000000", "scene_number": 1, "description": "x"}'), ('scenes', 'an erased one', 'delete', null),
  ('model_test_results', 'an erased one', 'row', '{"user_id": "00000000-0000-4000-8000-000000000000", "model_type": "SDXL", "prompt_text": "x", "test_series": "x", "test_tier": "artistic"}'),
  ('model_test_results', 'an erased one', 'delete', null),
  ('user_activity_log', 'an erased one', 'row', '{"user_id": "00000000-0000-4000-8000-000000000000", "action": "x"}'), ('user_activity_log', 'an erased one', 'delete', null);
