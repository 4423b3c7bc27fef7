-- Returns the pictures that a picture comes from, at any depth, itself included, each with the user whose attestation counts: the one who
-- asks, for the picture itself; the owner of the job that used it, for all others. At most 1,001 rows: more than 1,000 is too deep.
create or replace function ourvidz.origins(p_user uuid, p_sha256 text) returns table (user_id uuid, sha256 text)
language sql stable
as $$
  with recursive came (user_id, sha256) as (
    select p_user, p_sha256
    union  -- a picture that is met twice is followed once
    select maker.user_id, used.sha256
    from came
    join public.artifacts as made on made.sha256 = came.sha256
    join public.jobs as maker on maker.id = made.job_id
    cross join lateral (
      select r.sha256 from ourvidz.job_references as r where r.job_id = maker.id
      union all
      -- Made before references were recorded: the sources are unknown, so every picture attested by then counts.
      select c.sha256 from public.consents as c
      where c.user_id = maker.user_id and c.attested_at <= coalesce(maker.completed_at, ourvidz.now())
        and exists (select from public.job_payloads where job_id = maker.id and settings->'references' <> '{}')
        and not exists (select from ourvidz.job_references where job_id = maker.id)
    ) as used
  )
  select * from came limit 1001
$$;

-- Checks whether a job of this user made a picture with these bytes, and it is not taken down.
create or replace function ourvidz.is_made_for(p_user uuid, p_sha256 text) returns boolean
language sql stable
as $$
  select exists (select from public.artifacts as a join public.jobs as j on j.id = a.job_id where a.sha256 = p_sha256 and j.user_id = p_user
                   and not a.taken_down)
$$;

-- Checks whether this user withdrew the attestation of this very picture and did not give it again.
create or replace function ourvidz.is_withdrawn(p_user uuid, p_sha256 text) returns boolean
language sql stable
as $$
  select exists (select from public.consents where user_id = p_user and sha256 = p_sha256)
     and not exists (select from public.consents where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null)
$$;

-- Returns null if this user's picture may be shown to a model, else why not: `unattested`, `withdrawn` (it or a source of it), `too_deep`.
create or replace function ourvidz.why_no_consent(p_user uuid, p_sha256 text) returns text
language sql stable
as $$
  select case
    when not exists (select from public.consents where user_id = p_user and sha256 = p_sha256)
     and not ourvidz.is_made_for(p_user, p_sha256) then 'unattested'
    else (select case when bool_or(ourvidz.is_withdrawn(o.user_id, o.sha256)) then 'withdrawn' when count(*) > 1000 then 'too_deep' end
          from ourvidz.origins(p_user, p_sha256) as o) end
$$;
