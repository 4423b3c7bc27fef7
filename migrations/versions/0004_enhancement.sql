-- Prompts to enhance for the prompt dialog. No job and no event: a person looks at the text and uses or discards it. Rows live for minutes
-- (ourvidz.enhance_expire), and an erasure deletes them at once.
create table if not exists ourvidz.enhancement_requests (
  id          uuid primary key default gen_random_uuid(),
  user_id     uuid not null,
  style       text not null check (style in ('sdxl', 'wan', 'wan_image')),
  prompt      text not null check (length(prompt) between 1 and 4000),
  asked_at    timestamptz not null,
  claim_no    integer not null default 0,
  lease_until timestamptz,
  enhanced    text check (length(enhanced) between 1 and 8000),
  failed      text check (failed ~ '^[a-z_]{1,40}$'),
  figures     jsonb not null default '{}',
  check (num_nonnulls(enhanced, failed) < 2)
);
create index if not exists enhancement_requests_open on ourvidz.enhancement_requests (asked_at) where enhanced is null and failed is null;
create index if not exists enhancement_requests_of_user on ourvidz.enhancement_requests (user_id, asked_at desc);
comment on table ourvidz.enhancement_requests is 'Short-lived: deleted five minutes after they were asked for.';
comment on column ourvidz.enhancement_requests.claim_no is 'Fences the answer: an enhancer whose lease ran out may not give one.';
comment on column ourvidz.enhancement_requests.figures is 'What the answer took: seconds, tokens, and a note where no real model wrote it.';

-- Processes that have the enhancer's model and take these requests: one row each, written when they look for work.
create table if not exists ourvidz.enhancers (
  name    text primary key check (name ~ '^[A-Za-z0-9._:-]{1,120}$'),
  beat_at timestamptz not null,
  waiting boolean not null default false
);

-- Requests to verify an age, with who decided, when and on what grounds. A decision is never changed: another decision is another row.
create table if not exists ourvidz.age_reviews (
  id         bigint generated always as identity primary key,
  user_id    uuid not null,
  asked_at   timestamptz not null,
  decision   text check (decision in ('verified', 'refused')),
  decided_at timestamptz,
  decided_by text check (length(decided_by) between 1 and 200),
  how        text check (length(how) between 1 and 500),
  check ((decision is null) = (decided_at is null) and (decision is null) = (decided_by is null))
);
create unique index if not exists age_reviews_open on ourvidz.age_reviews (user_id) where decision is null;
create index if not exists age_reviews_of_user on ourvidz.age_reviews (user_id, id desc);
comment on column ourvidz.age_reviews.how is 'What the decision rests on: a document that was looked at, a provider and its reference. Erased with its user.';

alter table ourvidz.policy add column if not exists help_url text
  check (help_url ~ '^https?://[^[:space:]]+$' and length(help_url) <= 500);
comment on column ourvidz.policy.help_url is
  'The page for age and attestation, which refusals link to. Set by `ourvidz age page`, and by `migrate` where it is null and SUPABASE_URL is known.';
