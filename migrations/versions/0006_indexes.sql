-- Indexes for deletions: each foreign key of a large table needs one, or deleting one picture, film or profile reads the whole table.
create index if not exists images_of_reviewer on public.images (reviewed_by) where reviewed_by is not null;
create index if not exists model_test_results_of_user on public.model_test_results (user_id);
create index if not exists model_test_results_of_image on public.model_test_results (image_id) where image_id is not null;
create index if not exists model_test_results_of_video on public.model_test_results (video_id) where video_id is not null;
-- Finds whether another row shows the same object (ourvidz.row_objects_removed). Hash: a path may be too long for a btree entry.
create index if not exists images_of_path on public.images using hash (image_url) where image_url is not null;
create index if not exists images_of_thumbnail on public.images using hash (thumbnail_url) where thumbnail_url is not null;
create index if not exists videos_of_path on public.videos using hash (video_url) where video_url is not null;
create index if not exists videos_of_thumbnail on public.videos using hash (thumbnail_url) where thumbnail_url is not null;
create index if not exists videos_of_preview on public.videos using hash (preview_url) where preview_url is not null;
-- One index for both all requests of a user and the one with a key. Given two, the planner takes the smaller one, on user_id only, where
-- users have few requests on average; every submit of a user with 100,000 jobs then reads all of them.
create unique index if not exists job_payloads_of_user_key on public.job_payloads (user_id, idempotency_key);
drop index if exists public.job_payloads_of_user;
drop index if exists public.job_payloads_idempotency;
-- A hash index walks all entries of a value at each insert, and a model may make the same picture many times (docs/decisions/0052).
create index if not exists artifacts_of_sha256 on public.artifacts (sha256);
drop index if exists public.artifacts_sha256;
