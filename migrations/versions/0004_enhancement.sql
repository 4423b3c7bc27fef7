-- Prompts that wait to be enhanced for the prompt dialog. No job and no event: a text that a person looks at and uses or throws away. Rows
-- live for minutes (ourvidz.enhance_expire), and an erasure takes them at once.
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

-- Who takes them: a row a process that has the enhancer's model, written as it looks for work.
create table if not exists ourvidz.enhancers (
  name    text primary key check (name ~ '^[A-Za-z0-9._:-]{1,120}$'),
  beat_at timestamptz not null,
  waiting boolean not null default false
);
