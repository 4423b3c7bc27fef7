-- Checks whether jobs may be made for a user: the one rule of submit, claim, retry, reroute and every step. Needs no schedule: the end of a
-- verification is compared with the clock.
create or replace function ourvidz.may_run(user_id uuid) returns boolean
language sql stable
as $$ select ourvidz.why_not_run(user_id) is null $$;

-- Lists the events that make something for a user, or continue to. events_apply refuses them, whoever writes, for a user who may not run
-- jobs. Claims are not among them: a claim skips such jobs (ourvidz.claim_from_lane), and one that was made before is refused at its first step.
create or replace function ourvidz.events_needing_permission() returns text[]
language sql immutable parallel safe
as $$
  select '{submitted,retried,rerouted,enhancement_started,prompt_enhanced,generation_started,artifact_generated,upload_started,artifact_uploaded,
           completed}'::text[]
$$;

-- Returns null if jobs may be made for the user, else why not: no_profile | erased | unverified | expired | suspended.
-- plpgsql, so that its plan is cached: a claim calls it for each job that it would take.
create or replace function ourvidz.why_not_run(user_id uuid) returns text
language plpgsql stable
as $$
declare
  p record;
begin
  select age_verified, age_verified_until, erased_at into p from public.profiles where id = why_not_run.user_id;
  return case when not found then 'no_profile'
              when p.erased_at is not null then 'erased'
              when p.age_verified is not true then 'unverified'
              when p.age_verified_until <= ourvidz.now() then 'expired'
              when ourvidz.is_suspended(why_not_run.user_id) then 'suspended' end;
end
$$;
