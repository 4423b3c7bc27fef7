-- Stores a decision: in the open request if it answers one, otherwise as a row of its own. Internal.
create or replace function ourvidz.age_decided(p_user uuid, p_decision text, p_by text, p_how text, p_until timestamptz)
returns ourvidz.age_reviews
language plpgsql
as $$
declare
  v_made ourvidz.age_reviews;
begin
  if p_decision in ('verified', 'refused') then
    update ourvidz.age_reviews
    set decision = p_decision, decided_at = ourvidz.now(), decided_by = p_by, how = p_how, verified_until = p_until
    where user_id = p_user and decision is null returning * into v_made;
  end if;
  if v_made.id is null then
    insert into ourvidz.age_reviews (user_id, asked_at, decision, decided_at, decided_by, how, verified_until)
    values (p_user, ourvidz.now(), p_decision, ourvidz.now(), p_by, p_how, p_until) returning * into v_made;
  end if;
  return v_made;
end
$$;

-- After profiles.age_verified or its end changed, whoever wrote it: adds a decision if the newest one differs from the profile, with the
-- writer's name. A withdrawn verification stops the user's jobs. (An erasure ends the jobs itself and is recorded as such.)
create or replace function ourvidz.age_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_last ourvidz.age_reviews;
  v_verified constant boolean := coalesce(new.age_verified, false);
begin
  -- + 0: the index of all ids must not give the order, or all reviews could be read (docs/decisions/0052, rule 7).
  select * into v_last from ourvidz.age_reviews where user_id = new.id and decision is not null order by id + 0 desc limit 1;
  if new.erased_at is null and (coalesce(v_last.decision = 'verified', false) <> v_verified
                                or v_verified and v_last.verified_until is distinct from new.age_verified_until) then
    v_last := ourvidz.age_decided(new.id, case when v_verified then 'verified' else 'withdrawn' end, ourvidz.actor(),
                                  'written to profiles.age_verified', case when v_verified then new.age_verified_until end);
  end if;
  delete from ourvidz.age_ends where user_id = new.id;
  if v_verified and new.age_verified_until is not null then
    insert into ourvidz.age_ends (user_id, until) values (new.id, new.age_verified_until);
  end if;
  if tg_op = 'UPDATE' and old.age_verified and not v_verified and new.erased_at is null then
    perform ourvidz.stop_jobs(new.id, 'age', case when v_last.decided_by ~ '^[a-z]+(:[A-Za-z0-9._-]{1,80})?$' then v_last.decided_by
                                                  else ourvidz.actor() end);
  end if;
  return null;
end
$$;
