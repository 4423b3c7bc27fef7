-- All of these fire in ordinary sessions only: what a session with session_replication_role = replica writes (a subscription's worker, the
-- load of a dump) was decided in the database that it comes from. For each table here ourvidz/db/schema_objects.py adds a trigger
-- `replica_guard`, which fires only in those sessions and refuses all other writes: the setting bypasses nothing (docs/decisions/0053).
create or replace trigger events_apply after insert on public.job_events
  referencing new table as fresh for each statement execute function ourvidz.events_apply();
create or replace trigger events_append_only before update or delete or truncate on public.job_events
  for each statement execute function ourvidz.refuse_change();
-- For the engine's own writes, which come from a trigger, only this cheap WHEN clause is evaluated.
create or replace trigger jobs_ask before insert on public.jobs
  for each row when (pg_trigger_depth() = 0) execute function ourvidz.jobs_ask();
create or replace trigger jobs_asked after insert on public.jobs  -- its name sorts before jobs_guard_insert, which looks for the events
  referencing new table as after_rows for each statement when (pg_trigger_depth() = 0) execute function ourvidz.jobs_asked();
create or replace trigger jobs_bare_write before update of
  id, status, version, head_hash, submitted_on, user_id, job_type, lane, project_id, video_id, image_id, priority, rank, run_at,
  claim_no, executor_id, claimed_at, deadline, attempts, errors, crashes, device_crashes, crashed_on, snoozes, cancel_requested,
  error_class, final, enhanced, generated, uploaded, hidden, created_at, updated_at, completed_at, error_message on public.jobs
  for each row when (pg_trigger_depth() = 0) execute function ourvidz.refuse_bare_write();
create or replace trigger jobs_erased before update of metadata, error_message on public.jobs
  for each row when (pg_trigger_depth() = 0 and num_nonnulls(new.metadata, new.error_message) > 0) execute function ourvidz.drop_erased_text();
create or replace trigger jobs_guard_insert after insert on public.jobs
  referencing new table as after_rows for each statement execute function ourvidz.jobs_guard_insert();
create or replace trigger jobs_guard_update after update on public.jobs
  referencing old table as before_rows new table as after_rows for each statement execute function ourvidz.jobs_guard_update();
create or replace trigger jobs_delete before delete on public.jobs
  for each row execute function ourvidz.jobs_delete();
create or replace trigger jobs_never_deleted before truncate on public.jobs
  for each statement execute function ourvidz.refuse_change();

create or replace trigger tokens_move after insert on ourvidz.token_entries
  referencing new table as fresh for each statement execute function ourvidz.tokens_move();
create or replace trigger tokens_append_only before update or delete or truncate on ourvidz.token_entries
  for each statement execute function ourvidz.refuse_change('To correct it, write another: ourvidz.grant_tokens, ourvidz.revoke_tokens.');
-- AFTER, so that it sees what is written, whatever other triggers changed.
create or replace trigger balance_guard after update on public.profiles
  for each row when (old.token_balance is distinct from new.token_balance) execute function ourvidz.balance_guard();
create or replace trigger balance_opened after insert on public.profiles
  for each row when (new.token_balance > 0) execute function ourvidz.balance_opened();
create or replace trigger balance_closed after delete on public.profiles
  for each row when (old.token_balance > 0) execute function ourvidz.balance_opened();

create or replace trigger verified_follow after insert or update of age_verified on public.profiles
  for each row when (new.age_verified) execute function ourvidz.verified_follow();
-- Not `of age_verified`: a trigger of the project's own may change it in a statement that does not name it.
create or replace trigger age_follow after update on public.profiles
  for each row when ((old.age_verified, old.age_verified_until) is distinct from (new.age_verified, new.age_verified_until))
  execute function ourvidz.age_follow();
create or replace trigger age_begin after insert on public.profiles for each row when (new.age_verified) execute function ourvidz.age_follow();

-- Library rows follow their jobs' events. Functions of ours run as their owner, which nobody can become: other writers' rows are checked.
create or replace trigger images_check_insert before insert on public.images
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.images_check_insert();
create or replace trigger images_arrived after insert on public.images
  for each row when (new.job_id is not null and current_user <> 'ourvidz_owner') execute function ourvidz.images_changed();
create or replace trigger images_changed after update on public.images
  for each row when (new.job_id is not null and current_user <> 'ourvidz_owner') execute function ourvidz.images_changed();
create or replace trigger images_removed before delete on public.images
  for each row execute function ourvidz.images_removed();
create or replace trigger videos_guard_insert before insert on public.videos for each row
  when (new.status not in ('draft', 'queued') or num_nonnulls(new.preview_url, new.video_url, new.thumbnail_url, new.preview_job_id, new.video_job_id,
        new.current_job_id, new.approved_at, new.duration, new.completed_at) > 0)
  execute function ourvidz.videos_guard();
create or replace trigger videos_guard_update before update on public.videos for each row
  when ((old.status, old.preview_url, old.video_url, old.thumbnail_url, old.resolution, old.preview_job_id, old.video_job_id,
         old.current_job_id, old.approved_at, old.duration) is distinct from
        (new.status, new.preview_url, new.video_url, new.thumbnail_url, new.resolution, new.preview_job_id, new.video_job_id,
         new.current_job_id, new.approved_at, new.duration))
  execute function ourvidz.videos_guard();
create or replace trigger videos_changed after update on public.videos
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.videos_changed();
create or replace trigger videos_removed before delete on public.videos
  for each row execute function ourvidz.videos_removed();

create or replace trigger age_reviews_guard before update or delete on ourvidz.age_reviews
  for each row execute function ourvidz.age_reviews_guard();
create or replace trigger age_reviews_never_emptied before truncate on ourvidz.age_reviews
  for each statement execute function ourvidz.refuse_change();

create or replace trigger artifact_removed after update of deleted_at on public.artifacts
  for each row when (old.deleted_at is null and new.deleted_at is not null) execute function ourvidz.artifact_removed();
create or replace trigger images_objects_removed after delete on public.images for each row execute function ourvidz.row_objects_removed();
create or replace trigger videos_objects_removed after delete on public.videos for each row execute function ourvidz.row_objects_removed();

-- Columns that analysts read accept only values of their kinds (state/kinds.py).
create or replace trigger artifacts_kinds before insert or update of kind, media_type on public.artifacts
  for each row execute function ourvidz.check_column_kinds();
create or replace trigger executors_kinds before insert or update of called, lanes, resident, lane, state on ourvidz.executors
  for each row execute function ourvidz.check_column_kinds();
create or replace trigger intake_messages_kinds before insert or update of queue, outcome, reason, field on ourvidz.intake_messages
  for each row execute function ourvidz.check_column_kinds();
create or replace trigger intake_counts_kinds before insert or update of queue, outcome, reason on ourvidz.intake_counts
  for each row execute function ourvidz.check_column_kinds();
create or replace trigger screenings_kinds before insert or update of stage, policy_version, category, rule_id, digest on ourvidz.screenings
  for each row execute function ourvidz.check_column_kinds();

create or replace trigger image_moderated after update of moderation_status on public.images
  for each row when (old.moderation_status is distinct from new.moderation_status and new.moderation_status in ('rejected', 'approved')
                     and current_user <> 'ourvidz_owner')
  execute function ourvidz.image_moderated();
create or replace trigger image_reviewed before update of reviewed_by on public.images
  for each row when (new.reviewed_by is not null and old.reviewed_by is distinct from new.reviewed_by
                     and current_user in ('authenticated', 'ourvidz_admin', 'service_role'))
  execute function ourvidz.image_reviewed();
create or replace trigger moderation_append_only before update or delete or truncate on ourvidz.moderation_events
  for each statement execute function ourvidz.refuse_change();
-- Checks the size of every row that is not written by our functions; its name sorts before all other triggers (ourvidz.bound_row).
create or replace trigger a_bounds before insert or update on public.characters
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.projects
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.scenes
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.videos
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.images
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.jobs
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.usage_logs
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.user_activity_log
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.model_test_results
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();
create or replace trigger a_bounds before insert or update on public.system_config
  for each row when (current_user <> 'ourvidz_owner') execute function ourvidz.bound_row();

-- Counts the rows of each owner (ourvidz.count_rows).
create or replace trigger rows_added after insert on public.characters referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on public.characters referencing old table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_grown after update on public.characters referencing old table as gone new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_added after insert on public.projects referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on public.projects referencing old table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_grown after update on public.projects referencing old table as gone new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_added after insert on public.scenes referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on public.scenes referencing old table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_grown after update on public.scenes referencing old table as gone new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_added after insert on public.videos referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on public.videos referencing old table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_added after insert on public.images referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on public.images referencing old table as changed
  for each statement execute function ourvidz.count_rows();
-- Without the rows of job events, which our functions write at each begin and end of a job.
create or replace trigger rows_added after insert on public.usage_logs referencing new table as changed
  for each statement when (current_user <> 'ourvidz_owner') execute function ourvidz.count_rows('job_id is null', 'created_at');
create or replace trigger rows_gone after delete on public.usage_logs referencing old table as changed
  for each statement when (current_user <> 'ourvidz_owner') execute function ourvidz.count_rows('job_id is null', 'created_at');
create or replace trigger rows_added after insert on public.user_activity_log referencing new table as changed
  for each statement execute function ourvidz.count_rows('true', 'created_at');
create or replace trigger rows_gone after delete on public.user_activity_log referencing old table as changed
  for each statement execute function ourvidz.count_rows('true', 'created_at');
create or replace trigger rows_added after insert on public.consents referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on public.consents referencing old table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_added after insert on ourvidz.screenings referencing new table as changed
  for each statement execute function ourvidz.count_rows('stage = ''door''');
create or replace trigger rows_gone after delete on ourvidz.screenings referencing old table as changed
  for each statement execute function ourvidz.count_rows('stage = ''door''');
create or replace trigger rows_added after insert on ourvidz.age_reviews referencing new table as changed
  for each statement execute function ourvidz.count_rows();
create or replace trigger rows_gone after delete on ourvidz.age_reviews referencing old table as changed
  for each statement execute function ourvidz.count_rows();
