-- Takes the oldest request that is still waited for and that no live enhancer has. If there is none, returns nothing, and the next request
-- wakes the caller (NOTIFY ourvidz, 'enhancement'). A request is given to at most three enhancers. Also records the enhancer's heartbeat.
create or replace function ourvidz.enhancement_claim(p_name text)
returns table (id uuid, claim_no integer, style text, prompt text, seconds_left double precision)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := ourvidz.now();
  v_found boolean;
begin
  perform ourvidz.enhance_expire(), ourvidz.claims_left();
  return query
    update ourvidz.enhancement_requests as r
    set claim_no = r.claim_no + 1, lease_until = v_now + interval '6 s'
    where r.id = (select q.id from ourvidz.enhancement_requests as q
                  where q.enhanced is null and q.failed is null and q.claim_no < 3 and coalesce(q.lease_until <= v_now, true)
                    and q.asked_at > v_now - ourvidz.enhance_patience() and ourvidz.may_run(q.user_id)
                  order by q.asked_at limit 1 for update skip locked)
    returning r.id, r.claim_no, r.style, r.prompt, extract(epoch from r.asked_at + ourvidz.enhance_patience() - v_now)::double precision;
  v_found := found;
  perform ourvidz.count_claims(v_found::integer), ourvidz.enhancer_beat(p_name, waiting => not v_found);
end
$$;

-- Extends the lease while the model writes; false if the request belongs to another enhancer by now or is gone.
create or replace function ourvidz.enhancement_heartbeat(p_name text, p_id uuid, p_claim integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  perform ourvidz.enhancer_beat(p_name, waiting => false);
  update ourvidz.enhancement_requests set lease_until = ourvidz.now() + interval '6 s'
  where id = p_id and claim_no = p_claim and enhanced is null and failed is null and ourvidz.may_run(user_id);
  return found;
end
$$;

-- Stores the answer: {text, figures}, or {failed}: one word; {} gives the request back for another enhancer. False as in enhancement_heartbeat.
create or replace function ourvidz.enhancement_finish(p_id uuid, p_claim integer, p_answer jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  update ourvidz.enhancement_requests
  set enhanced = p_answer->>'text', failed = p_answer->>'failed', figures = coalesce(p_answer->'figures', '{}'), lease_until = null
  where id = p_id and claim_no = p_claim and enhanced is null and failed is null and ourvidz.may_run(user_id);
  return found;
end
$$;

create or replace function ourvidz.enhancer_beat(p_name text, waiting boolean) returns void
language sql
as $$
  insert into ourvidz.enhancers as e (name, beat_at, waiting) values (p_name, ourvidz.now(), enhancer_beat.waiting)
  on conflict (name) do update set beat_at = excluded.beat_at, waiting = excluded.waiting
  where excluded.waiting <> e.waiting or e.beat_at < excluded.beat_at - interval '5 s'  -- polling each second must not write each second
$$;
