-- Pictures that a model was shown for a job: its outputs inherit their attestations (ourvidz.origins). No foreign key to public.jobs:
-- adding one would block writes to that table for the rest of the migration, and jobs are never deleted.
create table if not exists ourvidz.job_references (
  job_id  uuid not null,
  sha256  text not null constraint job_references_sha256 check (sha256 ~ '^[0-9a-f]{64}$'),
  seen_at timestamptz not null,
  primary key (job_id, sha256)
);
create index if not exists job_references_of_picture on ourvidz.job_references (sha256);

-- What an executor does with users' reference pictures: with real models and no image screen it refuses them. Null: not reported.
alter table ourvidz.executors
  add column if not exists reference_pictures text
    constraint executors_reference_pictures check (reference_pictures in ('screened', 'unscreened', 'refused', 'tiny'));
