-- Indexes and references of the tables that the front end and the admin pages use (ourvidz/db/sql/reconcile creates the tables).
create index if not exists user_roles_of_user on public.user_roles (user_id);
create index if not exists scenes_of_project on public.scenes (project_id);
create index if not exists images_of_user on public.images (user_id, created_at desc);
create index if not exists images_of_job on public.images (job_id, image_index) where job_id is not null;
create index if not exists images_of_project on public.images (project_id) where project_id is not null;
create index if not exists model_test_results_of_job on public.model_test_results (job_id) where job_id is not null;
create index if not exists user_activity_log_of_user on public.user_activity_log (user_id, created_at desc);

-- A copy of state/policy.py: the plan that each word of profiles.subscription_status means.
create table ourvidz.plan_words (
  word text primary key,
  plan text not null references ourvidz.plans
);
