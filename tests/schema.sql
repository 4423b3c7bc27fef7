-- Made by `make schema`: the schema of a migrated database, as pg_dump of Postgres 18 prints it.
CREATE SCHEMA auth;

ALTER SCHEMA auth OWNER TO ourvidz;

CREATE SCHEMA extensions;

ALTER SCHEMA extensions OWNER TO ourvidz;

CREATE SCHEMA ourvidz;

ALTER SCHEMA ourvidz OWNER TO ourvidz;

COMMENT ON SCHEMA ourvidz IS 'What executors and operators call; not exposed by PostgREST.';

CREATE SCHEMA storage;

ALTER SCHEMA storage OWNER TO ourvidz;

CREATE TYPE ourvidz.asked_job AS (
	ord bigint,
	id uuid,
	user_id uuid,
	job_type text,
	lane text,
	idempotency_key text,
	priority integer,
	run_at timestamp with time zone,
	prompt text,
	negative_prompt text,
	settings jsonb,
	metadata jsonb,
	project_id uuid,
	video_id uuid,
	image_id uuid,
	body_digest bytea,
	set_aside jsonb,
	source text,
	chosen jsonb
);

ALTER TYPE ourvidz.asked_job OWNER TO ourvidz_owner;

CREATE TYPE ourvidz.claimed_job AS (
	job_id uuid,
	claim_no bigint,
	token uuid,
	user_id uuid,
	job_type text,
	lane text,
	prompt text,
	negative_prompt text,
	settings jsonb,
	metadata jsonb,
	enhanced_prompt text,
	artifacts jsonb,
	attempts integer,
	deadline timestamp with time zone,
	claimed_at timestamp with time zone
);

ALTER TYPE ourvidz.claimed_job OWNER TO ourvidz_owner;

CREATE TYPE ourvidz.request AS (
	ord bigint,
	id uuid,
	user_id uuid,
	job_type text,
	prompt text,
	negative_prompt text,
	config jsonb,
	metadata jsonb,
	settings jsonb,
	format text,
	quality text,
	model_type text,
	idempotency_key text,
	run_at timestamp with time zone,
	project_id uuid,
	video_id uuid,
	image_id uuid,
	character_id text,
	asked_type text,
	body_digest bytea
);

ALTER TYPE ourvidz.request OWNER TO ourvidz_owner;

CREATE TYPE public.app_role AS ENUM (
    'admin',
    'moderator',
    'premium_user',
    'basic_user',
    'guest'
);

ALTER TYPE public.app_role OWNER TO ourvidz;

CREATE FUNCTION auth.jwt() RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$ select coalesce(nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;

ALTER FUNCTION auth.jwt() OWNER TO ourvidz;

CREATE FUNCTION auth.role() RETURNS text
    LANGUAGE sql STABLE
    AS $$ select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                           nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role') $$;

ALTER FUNCTION auth.role() OWNER TO ourvidz;

CREATE FUNCTION auth.uid() RETURNS uuid
    LANGUAGE sql STABLE
    AS $$ select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                           nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;

ALTER FUNCTION auth.uid() OWNER TO ourvidz;

CREATE FUNCTION ourvidz.actor(p_owner uuid DEFAULT NULL::uuid) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case when role is null then 'login:' || left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 63)
              when role = 'service_role' then 'service'
              when admin and user_id is distinct from p_owner then 'admin:' || coalesce(user_id::text, 'unknown')
              else 'person' end
  from ourvidz.caller()
$$;

ALTER FUNCTION ourvidz.actor(p_owner uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.admin_reads(p_table text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  raise log 'ourvidz: admin % reads %: % %', coalesce((select user_id::text from ourvidz.caller()), 'unknown'), p_table,
    coalesce(current_setting('request.method', true), ''), coalesce(left(current_setting('request.path', true), 200), '');
  return true;
end
$$;

ALTER FUNCTION ourvidz.admin_reads(p_table text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.advance(p_job uuid, p_claim bigint, p_token uuid, p_event text, p_data jsonb DEFAULT '{}'::jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_held boolean;
begin
  if p_event in ('enhancement_started', 'generation_started', 'upload_started') then
    v_held := ourvidz.append_one(p_job, p_claim, p_token, p_event, ourvidz.salted(p_job, p_data));
  else
    perform ourvidz.annotate(array[p_job], array[p_claim], array[p_token], p_event, array[p_data]);
    v_held := found;
  end if;
  if not v_held then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
end
$$;

ALTER FUNCTION ourvidz.advance(p_job uuid, p_claim bigint, p_token uuid, p_event text, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.advance_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[] DEFAULT NULL::jsonb[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if p_event in ('enhancement_started', 'generation_started', 'upload_started') then
    return query
      select ourvidz.append_held(array_agg(id), array_agg(claim_no), array_agg(token), p_event, array_agg(ourvidz.salted(id, data)))
      from unnest(p_jobs, p_claims, p_tokens, p_data) as g (id, claim_no, token, data)
      where ourvidz.may_run((select user_id from public.jobs where id = g.id limit 1));
  else
    return query select ourvidz.annotate(p_jobs, p_claims, p_tokens, p_event, p_data);
  end if;
end
$$;

ALTER FUNCTION ourvidz.advance_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.advance_sequences() RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_one record;
  v_highest bigint;
  v_next bigint;
  v_raised bigint := 0;
begin
  for v_one in
    select s.oid::regclass as sequence, a.attrelid::regclass as relation, a.attname
    from pg_class as s join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i')
    join pg_attribute as a on (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
    join pg_class as c on c.oid = a.attrelid
    where s.relkind = 'S' and d.refclassid = 'pg_class'::regclass
      and (c.relnamespace = 'ourvidz'::regnamespace or c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()))
  loop
    execute format('select max(%I) from %s', v_one.attname, v_one.relation) into v_highest;
    execute format('select case when is_called then last_value + 1 else last_value end from %s', v_one.sequence) into v_next;
    if v_highest >= v_next then
      perform setval(v_one.sequence, v_highest);
      v_raised := v_raised + 1;
    end if;
  end loop;
  return v_raised;
end
$$;

ALTER FUNCTION ourvidz.advance_sequences() OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.age_reviews (
    id bigint NOT NULL,
    user_id uuid NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    decision text,
    decided_at timestamp with time zone,
    decided_by text,
    how text,
    began_at timestamp with time zone,
    began_by text,
    verified_until timestamp with time zone,
    CONSTRAINT age_reviews_began_by_check CHECK (((length(began_by) >= 1) AND (length(began_by) <= 200))),
    CONSTRAINT age_reviews_check CHECK ((((decision IS NULL) = (decided_at IS NULL)) AND ((decision IS NULL) = (decided_by IS NULL)))),
    CONSTRAINT age_reviews_decided_by_check CHECK (((length(decided_by) >= 1) AND (length(decided_by) <= 200))),
    CONSTRAINT age_reviews_decision CHECK ((decision = ANY (ARRAY['verified'::text, 'refused'::text, 'withdrawn'::text, 'expired'::text]))),
    CONSTRAINT age_reviews_how_check CHECK (((length(how) >= 1) AND (length(how) <= 500)))
);

ALTER TABLE ourvidz.age_reviews OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.age_reviews.how IS 'What the decision rests on: a document that was looked at, a provider and its reference. Erased with its user.';

COMMENT ON COLUMN ourvidz.age_reviews.began_at IS 'Somebody looks at it since then; null while it waits.';

CREATE FUNCTION ourvidz.age_decided(p_user uuid, p_decision text, p_by text, p_how text, p_until timestamp with time zone) RETURNS ourvidz.age_reviews
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
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

ALTER FUNCTION ourvidz.age_decided(p_user uuid, p_decision text, p_by text, p_how text, p_until timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_expire(p_limit integer DEFAULT 20) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user uuid;
begin
  for v_user in
    select user_id
    from (select user_id from ourvidz.age_ends where until <= (select ourvidz.now()) order by until limit p_limit for update skip locked) as due
    order by user_id
  loop
    perform from public.profiles where id = v_user and age_verified and age_verified_until <= ourvidz.now() for no key update;
    if found then
      perform ourvidz.age_decided(v_user, 'expired', 'reaper', 'it was verified until then', null);
      update public.profiles set age_verified = false, age_verified_until = null where id = v_user;
    else
      delete from ourvidz.age_ends where user_id = v_user and until <= ourvidz.now();
    end if;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.age_expire(p_limit integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_follow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
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
$_$;

ALTER FUNCTION ourvidz.age_follow() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_look(p_user uuid, p_by text, p_how text DEFAULT NULL::text) RETURNS ourvidz.age_reviews
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_made ourvidz.age_reviews;
begin
  perform from public.profiles where id = p_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %, or it was erased.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  insert into ourvidz.age_reviews as r (user_id, asked_at, began_at, began_by, how)
  values (p_user, ourvidz.now(), ourvidz.now(), p_by, p_how)
  on conflict (user_id) where decision is null do update set began_at = excluded.began_at, began_by = excluded.began_by,
    how = coalesce(excluded.how, r.how)
  returning * into v_made;
  return v_made;
end
$$;

ALTER FUNCTION ourvidz.age_look(p_user uuid, p_by text, p_how text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_of(p_user uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select jsonb_build_object(
    'status', found.status, 'asked_at', open.asked_at, 'decided_at', last.decided_at,
    'until', case when found.status in ('verified', 'expired') then coalesce(profile.age_verified_until, last.verified_until) end,
    'may_ask_at', case when found.status in ('refused', 'withdrawn') then last.decided_at + ourvidz.age_pause() end,
    'next', (select next from ourvidz.age_states() as s where s.status = found.status))
  from (select p_user as id) as me
  left join public.profiles as profile on profile.id = me.id
  left join lateral (select * from ourvidz.age_reviews where user_id = me.id and decision is null limit 1) as open on true
  left join lateral (
    select * from ourvidz.age_reviews where user_id = me.id and decision is not null order by id + 0 desc limit 1) as last on true
  cross join lateral (select case when profile.age_verified and coalesce(profile.age_verified_until > ourvidz.now(), true) then 'verified'
                                  when open.began_at is not null then 'in_review' when open.id is not null then 'waiting'
                                  when profile.age_verified then 'expired' when last.decision <> 'verified' then last.decision
                                  else 'unverified' end as status) as found
$$;

ALTER FUNCTION ourvidz.age_of(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_pause() RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select interval '1 day' $$;

ALTER FUNCTION ourvidz.age_pause() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_reviews_guard() RETURNS trigger
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if tg_op = 'UPDATE' and (old.decision is null and new.user_id = old.user_id and new.asked_at = old.asked_at
                           or to_jsonb(new) - 'how' = to_jsonb(old) - 'how' and new.how is null) then
    return new;
  end if;
  raise exception 'A decision on an age is not changed: make another (ourvidz.verify_age).' using errcode = 'OV001';
end
$$;

ALTER FUNCTION ourvidz.age_reviews_guard() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.age_states() RETURNS TABLE(status text, next text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  values ('verified', 'Your age is verified. Nothing else is needed.'),
         ('unverified', 'Ask for your age to be verified. Until it is, no job is made for you.'),
         ('waiting', 'Your request was recorded and waits for somebody to look at it. You will be told by email what is needed.'),
         ('in_review', 'Your request is being looked at. You will be told by email what was decided, or what else is needed.'),
         ('refused', 'The last request was refused. A day after the decision you can ask again.'),
         ('withdrawn', 'Your verification was taken back, and your unfinished jobs were stopped. A day after that you can ask again.'),
         ('expired', 'Your verification has run out, and your unfinished jobs were stopped. Ask for your age to be verified again.')
$$;

ALTER FUNCTION ourvidz.age_states() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.all_refuse_pictures(p_lane text) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select coalesce(bool_and(reference_pictures is not distinct from 'refused'), false) from ourvidz.executors
  where state = 'active' and lease_until > ourvidz.now() and p_lane = any (lanes)
$$;

ALTER FUNCTION ourvidz.all_refuse_pictures(p_lane text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.allowed(p_status text, p_held boolean, p_final boolean, p_cancel_requested boolean, p_fallback boolean, p_preview boolean) RETURNS text[]
    LANGUAGE sql STABLE
    AS $$
  select array(
    select verb
    from (values (1, 'cancel', '{cancelled,cancel_requested}'::text[], not p_cancel_requested), (2, 'retry', '{retried}', not p_final),
                 (3, 'reroute', '{rerouted}', p_fallback), (4, 'reprioritise', '{reprioritised}', true)) as v (n, verb, events, stands)
    where stands and exists (select from ourvidz.transitions as t where t.event = any (v.events) and t.source = p_status
                             and (t.before = 'any' or (t.before = 'held') = p_held))
    order by n) || case when p_preview and p_status = 'completed' then '{approve}'::text[] else '{}' end
$$;

ALTER FUNCTION ourvidz.allowed(p_status text, p_held boolean, p_final boolean, p_cancel_requested boolean, p_fallback boolean, p_preview boolean) OWNER TO ourvidz_owner;

CREATE TABLE public.jobs (
    id uuid NOT NULL,
    status text NOT NULL,
    version integer NOT NULL,
    head_hash bytea NOT NULL,
    submitted_on date NOT NULL,
    user_id uuid NOT NULL,
    job_type text NOT NULL,
    lane text NOT NULL,
    project_id uuid,
    video_id uuid,
    image_id uuid,
    priority smallint NOT NULL,
    rank double precision NOT NULL,
    ready boolean,
    run_at timestamp with time zone,
    claim_no bigint NOT NULL,
    executor_id uuid,
    claimed_at timestamp with time zone,
    deadline timestamp with time zone,
    attempts integer NOT NULL,
    errors integer NOT NULL,
    crashes integer NOT NULL,
    device_crashes integer NOT NULL,
    crashed_on text,
    snoozes integer NOT NULL,
    cancel_requested boolean NOT NULL,
    error_class text,
    final boolean NOT NULL,
    enhanced boolean NOT NULL,
    generated integer NOT NULL,
    uploaded integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    format text,
    quality text,
    model_type text,
    worker_type text,
    metadata jsonb,
    error_message text,
    hidden boolean DEFAULT false NOT NULL,
    CONSTRAINT jobs_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT jobs_check CHECK (((executor_id IS NULL) OR ((status = ANY (ARRAY['queued'::text, 'enhancing'::text, 'generating'::text, 'uploading'::text])) AND (deadline IS NOT NULL)))),
    CONSTRAINT jobs_check1 CHECK (((status <> ALL (ARRAY['enhancing'::text, 'generating'::text, 'uploading'::text])) OR (executor_id IS NOT NULL))),
    CONSTRAINT jobs_check2 CHECK (((ready IS NULL) = ((status <> 'queued'::text) OR (executor_id IS NOT NULL)))),
    CONSTRAINT jobs_check3 CHECK (((completed_at IS NULL) = (status <> ALL (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT jobs_claim_no_check CHECK ((claim_no >= 0)),
    CONSTRAINT jobs_head_hash_check CHECK ((length(head_hash) = 32)),
    CONSTRAINT jobs_priority_check CHECK (((priority >= 0) AND (priority <= 7))),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'enhancing'::text, 'generating'::text, 'uploading'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT jobs_version_check CHECK ((version > 0))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500');

ALTER TABLE ONLY public.jobs REPLICA IDENTITY FULL;

ALTER TABLE public.jobs OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.jobs.rank IS 'Place in the lane''s order: start-time fair queueing between users, plus what priority lets pass.';

COMMENT ON COLUMN public.jobs.ready IS 'True: may be claimed. False: waits for run_at. Null: held or ended. The one column no event tells.';

COMMENT ON COLUMN public.jobs.hidden IS 'Its owner deleted it from their library (event removed): they see it no more; operators, the ledger and the audit do.';

CREATE FUNCTION ourvidz.allowed_next(j public.jobs) RETURNS text[]
    LANGUAGE sql STABLE
    AS $$
  select array(
    select verb from unnest(ourvidz.allowed(
      j.status, j.executor_id is not null, j.final, j.cancel_requested,
      (select fallback is not null from ourvidz.job_types where name = j.job_type), ourvidz.awaits_approval(j.id))) with ordinality as a (verb, n)
    where (ourvidz.caller()).role is null or verb in ('cancel', 'retry', 'approve') order by n)
$$;

ALTER FUNCTION ourvidz.allowed_next(j public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.am_suspended() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ select ourvidz.is_suspended((ourvidz.caller()).user_id) $$;

ALTER FUNCTION ourvidz.am_suspended() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.annotate(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_held integer[];
  v_ids uuid[];
  v_data jsonb[];
begin
  if not p_event = any ('{enhancement_skipped,reference_skipped,generation_repeated}') then
    raise exception 'advance does not write %: it has a function of its own.', p_event using errcode = 'OV001';
  end if;
  perform ourvidz.check_word(told.value #>> '{}', told.key)
  from unnest(p_data) as d cross join lateral jsonb_each(d) as told where jsonb_typeof(told.value) = 'string';
  v_held := ourvidz.lock_claims(p_jobs, p_claims, p_tokens);
  select array_agg(p_jobs[n]), array_agg(coalesce(p_data[n], '{}')) into v_ids, v_data
  from unnest(v_held) as n
  where (select e.version from public.job_events as e where e.job_id = p_jobs[n] and e.claim_no = p_claims[n] and e.type = p_event
         and e.data = coalesce(p_data[n], '{}') limit 1) is null;
  perform ourvidz.append(v_ids, p_event, v_data, 'executor');
  return query select p_jobs[n] from unnest(v_held) as n;
end
$$;

ALTER FUNCTION ourvidz.annotate(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_age_message(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  m constant ourvidz.age_messages := jsonb_populate_record(
    null::ourvidz.age_messages, p || jsonb_build_object('received_at', ourvidz.now()));
  v_by constant text := 'provider:' || m.provider;
  v_decision constant text := p->>'decision';
  v_how constant text := trim('message of the provider ' || coalesce(left(p->>'reference', 200), ''));
  v_until constant timestamptz := p->>'until';
  v_last ourvidz.age_reviews;
  v_outcome text := 'decided';
begin
  if coalesce((ourvidz.caller()).role, 'service_role') <> 'service_role' then  -- no other role has the grant, unless a project adds it
    raise exception 'A provider''s message comes with the service key.' using errcode = 'OV017';
  elsif v_decision in ('verified', 'refused', 'review') is not true then
    raise exception 'A provider''s decision is verified, refused or review.' using errcode = 'OV009', column = 'decision';
  elsif m.provider ~ '^[a-z0-9_-]{1,40}$' is not true or length(m.message_id) between 1 and 200 is not true then
    raise exception 'A message has a provider''s name and an id of 1 to 200 characters.' using errcode = 'OV009', column = 'message_id';
  end if;
  delete from ourvidz.age_messages where received_at < (select ourvidz.now() - interval '90 days');
  -- Serialises the messages of one user.
  perform from public.profiles where id = m.user_id and erased_at is null for no key update;
  if not found then
    raise exception 'There is no profile %, or it was erased.', m.user_id using errcode = 'OV018', column = 'user_id';
  end if;
  insert into ourvidz.age_messages (provider, message_id, user_id, said_at, received_at)
  values (m.provider, m.message_id, m.user_id, m.said_at, m.received_at) on conflict do nothing;
  if not found then
    return jsonb_build_object('outcome', 'repeated', 'status', ourvidz.age_of(m.user_id)->'status');
  end if;
  select * into v_last from ourvidz.age_reviews as r where r.user_id = m.user_id and r.decision is not null order by id + 0 desc limit 1;
  if exists (select from ourvidz.age_messages as a where a.user_id = m.user_id and a.provider = m.provider and a.said_at > m.said_at)
     or v_last.decided_by not like 'provider:%' and v_last.decided_at > m.said_at then
    v_outcome := 'older';
  -- A provider cannot overturn a person's refusal or withdrawal: a person decides. The same if the verification has already expired.
  elsif v_decision = 'review' or v_decision = 'verified'
        and (v_until <= ourvidz.now() or v_last.decision in ('refused', 'withdrawn') and v_last.decided_by <> v_by) then
    v_outcome := 'review';
    perform ourvidz.age_look(m.user_id, v_by, v_how);
  else
    perform ourvidz.verify_age(m.user_id, v_decision = 'verified', v_how, v_by, v_until);
  end if;
  return jsonb_build_object('outcome', v_outcome, 'status', ourvidz.age_of(m.user_id)->'status');
end
$_$;

ALTER FUNCTION ourvidz.api_age_message(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_age_status(p jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$ select ourvidz.age_of(ourvidz.signed_in()) $$;

ALTER FUNCTION ourvidz.api_age_status(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_appeal(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_output constant ourvidz.takedowns := ourvidz.output_of(p->>'output');
  v_subject text;
  v_suspension uuid;
  v_made ourvidz.appeals;
begin
  if length(trim(p->>'said')) between 1 and 2000 is not true then
    raise exception 'Say why, in 1 to 2,000 characters.' using errcode = 'OV009', column = 'said';
  end if;
  perform from public.profiles where id = v_user and erased_at is null for key share;
  select subject into v_subject from ourvidz.takedowns
  where subject = v_output.subject and user_id = v_user and state in ('hidden', 'blocked');
  select id into v_suspension from ourvidz.suspensions where user_id = v_user and lifted_at is null and p->>'output' is null;
  if num_nonnulls(v_subject, v_suspension) = 0 then
    raise exception 'There is nothing of yours to appeal against.' using errcode = 'OV018', column = 'output';
  end if;
  insert into ourvidz.appeals (user_id, subject, suspension, asked_at) values (v_user, v_subject, v_suspension, ourvidz.now())
  on conflict do nothing returning * into v_made;
  if not found then
    raise exception 'You have appealed against this already: an operator decides.' using errcode = 'OV001';
  end if;
  insert into ourvidz.report_payloads (id, user_id, said) values (v_made.id, v_user, trim(p->>'said'));
  perform ourvidz.moderated('appealed', 'person:' || v_user, p_subject => v_subject, p_user => v_user, p_appeal => v_made.id);
  return ourvidz.appeal_seen(v_made);
end
$$;

ALTER FUNCTION ourvidz.api_appeal(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_approve_preview(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_scene constant public.videos := ourvidz.lock_scene((p->>'video_id')::uuid);
  v_choice constant jsonb := jsonb_strip_nulls(jsonb_build_object(
    'preview', v_scene.preview_job_id, 'index', coalesce((p->>'index')::integer, 0), 'job_type', p->'job_type',
    'config', coalesce(nullif(p->'config', 'null'), '{}')));
  v_key constant text := p->>'idempotency_key';
  v_final public.jobs;
  v_made record;
  v_request jsonb;
begin
  if length(v_key) not between 1 and 200 then
    raise exception 'An idempotency key has 1 to 200 characters.' using errcode = 'OV009', column = 'idempotency_key';
  end if;
  select * into v_final from public.jobs where id = v_scene.video_job_id;
  if v_scene.approved_at is not null and v_final.status not in ('failed', 'cancelled') then
    if (select metadata->'approved' is distinct from v_choice from public.job_payloads where job_id = v_final.id) then
      raise exception 'The preview of scene % was approved before, with another choice: job % makes its final video.', v_scene.id, v_final.id
        using errcode = 'OV001', hint = 'Cancel that job first, or make a new preview.';
    end if;
    select v_final.id as job_id, false as created into v_made;
  else
    v_request := ourvidz.final_of(v_scene, v_choice) || jsonb_build_object('idempotency_key', v_key);
    if (ourvidz.caller()).user_id is distinct from v_scene.user_id and not coalesce((p->>'charge')::boolean, false) then
      raise exception 'To approve the preview of scene % spends tokens of user %, who did not ask for it.', v_scene.id, v_scene.user_id
        using errcode = 'OV017', column = 'charge', hint = 'Say so with charge (`--charge`), or let its user approve it.';
    end if;
    perform ourvidz.lock_user_submissions(v_scene.user_id);
    if (ourvidz.caller()).role is not null
       and not exists (select from public.job_payloads where user_id = v_scene.user_id and idempotency_key = v_key) then
      perform ourvidz.check_pace(v_scene.user_id);
    end if;
    select * into v_made
    from ourvidz.submit_batch(jsonb_build_array(jsonb_strip_nulls(v_request)), ourvidz.actor(v_scene.user_id), 'rpc');
    update public.videos set approved_at = ourvidz.now()
    where id = v_scene.id and v_made.created and preview_job_id = v_scene.preview_job_id;
  end if;
  return ourvidz.job_view(v_made.job_id)
      || (select jsonb_build_object('created', v_made.created, 'video_id', v.id, 'job_type', j.job_type, 'approved_at', v.approved_at,
                                    'balance', (select token_balance from public.profiles where id = v.user_id))
          from public.videos as v join public.jobs as j on j.id = v_made.job_id where v.id = v_scene.id);
end
$$;

ALTER FUNCTION ourvidz.api_approve_preview(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_ask_enhancement(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_prompt constant text := trim(p->>'prompt');
  v_id uuid;
begin
  if length(v_prompt) between 1 and 4000 is not true then
    raise exception 'A prompt has 1 to 4,000 characters.' using errcode = 'OV009', column = 'prompt';
  end if;
  perform ourvidz.check_verified(v_user);
  perform ourvidz.check_enhancements(v_user);
  insert into ourvidz.enhancement_requests (user_id, style, prompt, asked_at)
  values (v_user, coalesce((select case when family = 'sdxl' then 'sdxl' when video then 'wan' else 'wan_image' end
                            from ourvidz.job_types where name = p->>'job_type'),
                           case p->>'format' when 'video' then 'wan' else 'sdxl' end),
          v_prompt, ourvidz.now())
  returning id into v_id;
  if exists (select from ourvidz.enhancers where waiting) then
    update ourvidz.enhancers set waiting = false where waiting;
    perform pg_notify('ourvidz', 'enhancement');
  end if;
  return jsonb_build_object('request_id', v_id, 'status', 'waiting');
end
$$;

ALTER FUNCTION ourvidz.api_ask_enhancement(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_attest_consent(p jsonb) RETURNS jsonb
    LANGUAGE sql
    AS $$ select to_jsonb(ourvidz.attest(ourvidz.signed_in(), p->>'sha256', p->>'version')) $$;

ALTER FUNCTION ourvidz.api_attest_consent(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_bound_row(p jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$ select null::jsonb $$;

ALTER FUNCTION ourvidz.api_bound_row(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_cancel_job(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_done text;
begin
  perform ourvidz.check_job_access(p->>'job_id');
  v_done := ourvidz.cancel((p->>'job_id')::uuid, (p->>'version')::integer);
  return ourvidz.job_view((p->>'job_id')::uuid) || jsonb_build_object('done', v_done);
end
$$;

ALTER FUNCTION ourvidz.api_cancel_job(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_change_job(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_job constant uuid := p->>'job_id';
  v_status constant text := p->>'status';
  v_me record;
begin
  select * into v_me from ourvidz.caller();
  if p ? 'image_id' or p ? 'video_id' then
    if num_nonnulls(p->>'image_id', p->>'video_id') = 0 then
      raise exception 'Job %: a link is set once, and goes when the row it names is deleted.', v_job
        using errcode = 'OV009', column = case when p ? 'image_id' then 'image_id' else 'video_id' end;
    end if;
    perform ourvidz.link(v_job, (p->>'image_id')::uuid, (p->>'video_id')::uuid);
  end if;
  -- The deployed queue-job sets `failed` on a job that it could not put into its Redis: nobody waits for that job.
  if v_status in ('cancelled', 'failed') then
    perform ourvidz.cancel(v_job);
  elsif v_status = 'queued' and v_me.admin then
    perform ourvidz.retry(v_job);
  elsif v_status is not null then
    raise exception 'Job %: its status cannot be set to "%".', v_job, left(v_status, 40)
      using errcode = 'OV009', column = 'status', hint = format('It follows the job''s events. Set it to cancelled to cancel the job%s.',
        case when v_me.admin then ', or to queued to retry one that failed or was cancelled' else '; retry_job starts it again' end);
  end if;
  if p ? 'error_message' and v_me.admin then
    update public.jobs set error_message = left(p->>'error_message', 2000) where id = v_job;
  elsif p ? 'error_message' and v_status is null then
    raise exception 'Job %: its error message follows its events.', v_job using errcode = 'OV009', column = 'error_message';
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.api_change_job(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_delete_job(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ begin perform ourvidz.remove_from_library((p->>'job_id')::uuid); return null; end $$;

ALTER FUNCTION ourvidz.api_delete_job(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_enhancement(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  r ourvidz.enhancement_requests;
begin
  select * into r from ourvidz.enhancement_requests where id = (p->>'request_id')::uuid and user_id = ourvidz.signed_in();
  if not found then
    raise exception 'There is no enhancement request %, or no more.', p->>'request_id' using errcode = 'OV018', column = 'request_id';
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'request_id', r.id, 'style', r.style, 'prompt', r.prompt, 'enhanced', r.enhanced, 'failed', r.failed, 'figures', r.figures,
    'status', case when r.enhanced is not null then 'done' when r.failed is not null then 'failed'
                   when r.lease_until > ourvidz.now() then 'working' else 'waiting' end));
end
$$;

ALTER FUNCTION ourvidz.api_enhancement(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_file_report(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_id constant uuid := p->>'id';
  v_now constant timestamptz := ourvidz.now();
  v_rule ourvidz.report_rules := ourvidz.report_checked(p);
  v_taken ourvidz.takedowns;
  v_valid boolean;
begin
  if not exists (select from ourvidz.reports where id = v_id) then
    perform ourvidz.report_counted(p->>'source', v_rule);
    v_taken := ourvidz.takedown_of(ourvidz.output_of(p->>'output'));
    v_valid := not v_rule.signed or ((p->>'good_faith')::boolean and num_nulls(p->>'signature', p->>'contact') = 0);
    insert into ourvidz.reports (id, category, subject, user_id, valid, filed_at, due_at)
    values (v_id, v_rule.name, v_taken.subject, v_taken.user_id, v_valid, v_now, v_now + make_interval(secs => v_rule.deadline))
    on conflict (id) do nothing;
    if found then
      insert into ourvidz.report_payloads (id, user_id, contact, signature, said, named)
      values (v_id, v_taken.user_id, p->>'contact', p->>'signature', p->>'said', case when v_taken.subject is null then p->>'output' end);
      perform ourvidz.moderated('filed', 'reporter', p_report => v_id, p_subject => v_taken.subject, p_user => v_taken.user_id);
      perform ourvidz.report_hides(v_taken, v_rule, v_valid, p->>'source');
    end if;
  end if;
  return jsonb_build_object('report', v_id, 'hours', v_rule.deadline / 3600);
end
$$;

ALTER FUNCTION ourvidz.api_file_report(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_image_row(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_job constant uuid := p->>'job_id';
  v_index constant integer := coalesce((p->>'image_index')::integer, 0);
  v_me record;
  v_limit record;
  v_made uuid[];
begin
  select * into v_me from ourvidz.caller();
  if v_me.role <> 'service_role' and v_me.user_id is distinct from (p->>'user_id')::uuid then
    raise exception 'A picture''s row can be made in one''s own name only.' using errcode = 'OV017', column = 'user_id';
  end if;
  for v_limit in
    select * from (values ('prompt', 4000), ('enhanced_prompt', 8000), ('title', 500), ('image_url', 2000), ('thumbnail_url', 2000),
                          ('signed_url', 4000), ('generation_mode', 100), ('status', 100), ('format', 100), ('quality', 100),
                          ('review_notes', 4000)) as bound (name, most)
    where length(p->>bound.name) > bound.most
  loop
    raise exception '% may have at most % characters.', v_limit.name, v_limit.most using errcode = 'OV009', column = v_limit.name;
  end loop;
  for v_limit in
    select name from unnest('{metadata,image_urls,test_metadata}'::text[]) as name where pg_column_size(p->name) > 32768
  loop
    raise exception '% may have at most 32 kB.', v_limit.name using errcode = 'OV009', column = v_limit.name;
  end loop;
  if v_job is null then
    return p;
  elsif v_index not between 0 and 100 then
    raise exception 'image_index must be from 0 to 100.' using errcode = 'OV009', column = 'image_index';
  elsif coalesce(jsonb_typeof(p->'metadata'), 'null') not in ('object', 'null') then
    raise exception 'metadata must be an object.' using errcode = 'OV009', column = 'metadata';
  end if;
  perform from public.jobs where id = v_job and user_id = (p->>'user_id')::uuid and not hidden for share;
  if not found then
    perform ourvidz.refuse_missing('job', 'job_id');
  end if;
  -- The row made for this picture when the job ended gives way to the front end's. It is detached first, so that its deletion writes no
  -- event. A row that its owner is deleting right now is left to them; they wait for this job.
  v_made := array(select id from public.images where job_id = v_job and coalesce(image_index, 0) = v_index and metadata ? 'made_at_completion'
                  for update skip locked);
  update public.images set job_id = null where id = any (v_made);
  delete from public.images where id = any (v_made);
  return p || '{"status": "queued", "image_url": null, "thumbnail_url": null, "image_urls": null, "signed_url": null}'
           || jsonb_build_object('metadata', nullif(p->'metadata', 'null') - 'made_at_completion');
end
$$;

ALTER FUNCTION ourvidz.api_image_row(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_job_status(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.check_job_access(p->>'job_id');
  return ourvidz.job_view((p->>'job_id')::uuid);
end
$$;

ALTER FUNCTION ourvidz.api_job_status(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_moderate(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_actor constant text := ourvidz.moderator();
  v_report constant uuid := p->>'report';
begin
  if v_report is null then
    return to_jsonb(ourvidz.output_act(p->>'output', p->>'verb', v_actor, 'admin'));
  end if;
  return to_jsonb(ourvidz.report_act(v_report, p->>'verb', v_actor))
      || coalesce((select to_jsonb(texts) - '{id,user_id}'::text[] from ourvidz.report_payloads as texts where id = v_report), '{}');
end
$$;

ALTER FUNCTION ourvidz.api_moderate(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_my_restrictions(p jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select jsonb_build_object(
    'suspended', (select jsonb_build_object('since', s.since, 'appeal', ourvidz.appeal_seen(a)) from ourvidz.suspensions as s
                  left join ourvidz.appeals as a on a.suspension = s.id where s.user_id = me.id and s.lifted_at is null),
    'outputs', coalesce((
      select jsonb_agg(jsonb_build_object('output', coalesce(t.job_id || '.' || t.index, t.row_id::text), 'kind', t.kind, 'since', t.since,
                                          'appeal', ourvidz.appeal_seen(a)) order by t.since desc)
      from (select * from ourvidz.takedowns where user_id = me.id and state in ('hidden', 'blocked') order by since desc limit 200) as t
      left join ourvidz.appeals as a on a.subject = t.subject), '[]'))
  from (select ourvidz.signed_in() as id) as me
$$;

ALTER FUNCTION ourvidz.api_my_restrictions(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_plain_events(p_jobs jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_jobs constant uuid[] := array(select jsonb_array_elements_text(p_jobs)::uuid);
begin
  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select e.submitted_on, e.job_id, e.version, e.type, e.to_status, e.actor, e.occurred_at, e.data, e.prev_hash, e.hash
  from public.jobs as n
  join public.job_payloads as p on p.job_id = any (array[n.id])  -- by its key (docs/decisions/0052, rule 9)
  cross join lateral ourvidz.first_event(
    row(1, n.id, n.user_id, n.job_type, n.lane, null, n.priority, n.run_at, null, null, p.settings, null,
        n.project_id, n.video_id, n.image_id, p.body_digest, null, null, null)::ourvidz.asked_job, n.rank, p.salt, n.created_at, 'person') as e
  where n.id = any (v_jobs);
  perform ourvidz.wake(lane, jobs)
  from (select lane, count(*) as jobs from public.jobs where id = any (v_jobs) group by lane) as lanes;
  return null;
end
$$;

ALTER FUNCTION ourvidz.api_plain_events(p_jobs jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_plain_row(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_salt constant bytea := ourvidz.salt();
  v_user constant uuid := p->>'user_id';
  v_me record;
  v_asked ourvidz.asked_job[];
  v_born public.jobs;
begin
  perform ourvidz.check_insert_columns(jsonb_populate_record(null::public.jobs, p));
  select * into v_me from ourvidz.caller();
  if v_me.role <> 'service_role' and v_user is distinct from v_me.user_id then
    raise exception 'A job can be asked for in one''s own name only.' using errcode = 'OV017', column = 'user_id';
  elsif v_me.role is not null then
    perform ourvidz.check_pace(v_user);
  end if;
  v_asked := ourvidz.normalise_requests(jsonb_build_array(jsonb_build_object(
    'user_id', p->'user_id', 'job_type', p->'job_type', 'format', p->'format', 'quality', p->'quality', 'model_type', p->'model_type',
    'metadata', p->'metadata', 'project_id', p->'project_id', 'video_id', p->'video_id', 'image_id', p->'image_id')), 'row');
  perform ourvidz.check_requests(v_asked);
  perform ourvidz.check_pictures(v_asked);
  -- Before the job it belongs to: the foreign key is checked when the transaction ends.
  perform ourvidz.insert_payloads(v_asked, array[v_salt]);

  select born.* into v_born
  from unnest(v_asked) as a
  cross join lateral ourvidz.next_rank(a.user_id, a.lane, 1) as entry
  cross join lateral ourvidz.first_event(a, entry.start + ourvidz.priority_offset(a.priority), v_salt, v_now, 'person') as e
  cross join lateral ourvidz.evolve(null::public.jobs, e) as born;
  return to_jsonb(v_born) || (select ourvidz.legacy_columns(kind, words) from public.job_payloads as words
                              join ourvidz.job_types as kind on kind.name = v_born.job_type where words.job_id = v_born.id)
      || jsonb_strip_nulls(jsonb_build_object('format', p->'format', 'quality', p->'quality', 'model_type', p->'model_type'));
end
$$;

ALTER FUNCTION ourvidz.api_plain_row(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_queue_job(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_me record;
  v_key constant text := p->>'idempotency_key';
  v_dry constant boolean := coalesce((p->>'dry_run')::boolean, false);
begin
  select * into v_me from ourvidz.caller();
  if v_me.user_id is null then
    raise exception 'Nobody is signed in: a job is asked for by a user.'
      using errcode = 'OV017', hint = 'Send the user''s own JWT. (An operator''s own connection calls ourvidz.submit_batch.)';
  elsif length(v_key) not between 1 and 200 then
    raise exception 'An idempotency key has 1 to 200 characters.' using errcode = 'OV009', column = 'idempotency_key';
  end if;
  p := p - 'dry_run' || jsonb_build_object('user_id', v_me.user_id, 'request', p - 'dry_run');
  if v_dry then
    return ourvidz.submit(p, 'rpc', true);
  end if;
  perform ourvidz.lock_user_submissions(v_me.user_id);
  if not exists (select from public.job_payloads where user_id = v_me.user_id and idempotency_key = v_key) then
    perform ourvidz.check_pace(v_me.user_id);
  end if;
  return ourvidz.submit(p, 'rpc');
end
$$;

ALTER FUNCTION ourvidz.api_queue_job(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_read_prompt(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if not (select admin or role = 'service_role' from ourvidz.caller()) then
    raise exception 'Only an admin may do this.' using errcode = 'OV017';
  elsif coalesce(length(trim(p->>'reason')), 0) not between 1 and 200 then
    raise exception 'reason says why you read it, in 1 to 200 characters.' using errcode = 'OV009', column = 'reason';
  end if;
  return ourvidz.read_text((p->>'job_id')::uuid, ourvidz.actor(), p->>'reason');
end
$$;

ALTER FUNCTION ourvidz.api_read_prompt(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_report_queue(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.moderator();
  return coalesce((
    select jsonb_agg(to_jsonb(r) || jsonb_build_object('state', t.state, 'overdue', r.closed_at is null and r.due_at < ourvidz.now())
                     order by r.due_at)
    from (select * from ourvidz.reports where (closed_at is not null) = (p->>'closed')::boolean order by due_at limit 500) as r
    left join ourvidz.takedowns as t on t.subject = r.subject), '[]');
end
$$;

ALTER FUNCTION ourvidz.api_report_queue(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_report_refusal(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user constant uuid := ourvidz.signed_in();
begin
  perform ourvidz.lock_names('refusals', array[v_user::text]);
  if (select count(*) >= 20 from ourvidz.screenings
      where user_id = v_user and at > (select ourvidz.now() - interval '1 minute') and stage = 'door') then
    raise exception 'More than 20 refusals within a minute: try again in 60 s.' using errcode = 'OV016', detail = 'Retry after 60 s.';
  end if;
  perform ourvidz.record_refusal(v_user, p->>'category', p->>'policy_version', p->>'rule_id', p->>'digest');
  return '{"recorded": true}';
end
$$;

ALTER FUNCTION ourvidz.api_report_refusal(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_request_age_review(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user constant uuid := ourvidz.signed_in();
  v_status text;
  v_again timestamptz;
begin
  perform from public.profiles where id = v_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %.', v_user using errcode = 'OV018', column = 'user_id';
  end if;
  select told->>'status', told->>'may_ask_at' into v_status, v_again from ourvidz.age_of(v_user) as told;
  if v_again > ourvidz.now() then
    raise exception 'A review was refused within the last day: ask again tomorrow.'
      using errcode = 'OV016', detail = 'Retry after 86400 s.';
  elsif v_status <> 'verified' then
    insert into ourvidz.age_reviews (user_id, asked_at) values (v_user, ourvidz.now())
    on conflict (user_id) where decision is null do nothing;
  end if;
  return ourvidz.age_of(v_user);
end
$$;

ALTER FUNCTION ourvidz.api_request_age_review(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_retry_job(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user constant uuid := ourvidz.check_job_access(p->>'job_id');
begin
  perform ourvidz.lock_user_submissions(v_user);
  perform ourvidz.check_unfinished(v_user, 1);
  perform ourvidz.check_retries(v_user);
  perform ourvidz.retry((p->>'job_id')::uuid, (p->>'version')::integer, null, coalesce((p->>'charge')::boolean, false));
  return ourvidz.job_view((p->>'job_id')::uuid)
      || jsonb_build_object('balance', (select token_balance from public.profiles where id = v_user));
end
$$;

ALTER FUNCTION ourvidz.api_retry_job(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_too_many_rows(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  raise exception '% may have at most % rows of one owner, with % bytes together.', p->>'table', p->'rows', coalesce(p->>'bytes', 'any number of')
    using errcode = 'OV041', column = p->>'table', hint = 'Delete some first.';
end
$$;

ALTER FUNCTION ourvidz.api_too_many_rows(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_verify_age(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_me record;
  v_made ourvidz.age_reviews;
begin
  select * into v_me from ourvidz.caller();
  -- Grants already limit who may execute public.verify_age; this holds even if a project grants it more widely.
  if v_me.role is not null and v_me.role <> 'service_role' and not v_me.admin then
    raise exception 'An age is verified by the service key or an admin.' using errcode = 'OV017';
  end if;
  v_made := ourvidz.verify_age((p->>'user_id')::uuid, (p->>'verified')::boolean, p->>'how', ourvidz.actor(), (p->>'until')::timestamptz);
  return ourvidz.age_of(v_made.user_id) || jsonb_build_object('user_id', v_made.user_id, 'decided_by', v_made.decided_by, 'how', v_made.how);
end
$$;

ALTER FUNCTION ourvidz.api_verify_age(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_withdraw_consent(p jsonb) RETURNS jsonb
    LANGUAGE sql
    AS $$ select jsonb_build_object('withdrawn', ourvidz.withdraw(ourvidz.signed_in(), p->>'sha256')) $$;

ALTER FUNCTION ourvidz.api_withdraw_consent(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.api_wrote_too_much(p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  raise exception 'One request may write at most % bytes.', p->>'most' using errcode = 'OV040', hint = 'Send several, with fewer rows each.';
end
$$;

ALTER FUNCTION ourvidz.api_wrote_too_much(p jsonb) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.appeals (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    subject text,
    suspension uuid,
    asked_at timestamp with time zone NOT NULL,
    decision text,
    decided_at timestamp with time zone,
    decided_by text,
    CONSTRAINT appeals_check CHECK ((num_nonnulls(subject, suspension) = 1)),
    CONSTRAINT appeals_check1 CHECK ((((decision IS NULL) = (decided_at IS NULL)) AND ((decision IS NULL) = (decided_by IS NULL)))),
    CONSTRAINT appeals_decided_by_check CHECK (((length(decided_by) >= 1) AND (length(decided_by) <= 120))),
    CONSTRAINT appeals_decision_check CHECK ((decision = ANY (ARRAY['granted'::text, 'denied'::text])))
);

ALTER TABLE ourvidz.appeals OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.appeal_decide(p_appeal uuid, p_granted boolean, p_actor text) RETURNS ourvidz.appeals
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row ourvidz.appeals;
  v_word constant text := case when p_granted then 'granted' else 'denied' end;
begin
  perform from ourvidz.takedowns where subject = (select subject from ourvidz.appeals where id = p_appeal) for update;
  select * into v_row from ourvidz.appeals where id = p_appeal for update;
  if not found then
    raise exception 'There is no appeal %.', p_appeal using errcode = 'OV018', column = 'appeal';
  elsif v_row.decision = v_word then
    return v_row;
  elsif v_row.decision is not null then
    raise exception 'Appeal % was % already.', p_appeal, v_row.decision using errcode = 'OV001';
  end if;
  update ourvidz.appeals set decision = v_word, decided_at = ourvidz.now(), decided_by = p_actor where id = p_appeal returning * into v_row;
  perform ourvidz.moderated('appeal_' || v_word, p_actor, p_subject => v_row.subject, p_user => v_row.user_id, p_appeal => p_appeal);
  if p_granted and v_row.suspension is not null then
    perform ourvidz.suspension_lift(v_row.user_id, p_actor);
  elsif p_granted then
    perform ourvidz.report_act(id, 'restore', p_actor) from ourvidz.reports where subject = v_row.subject and status <> 'dismissed';
    perform ourvidz.takedown(v_row.subject, 'restored', p_actor, 'appeal');
  end if;
  return v_row;
end
$$;

ALTER FUNCTION ourvidz.appeal_decide(p_appeal uuid, p_granted boolean, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.appeal_seen(a ourvidz.appeals) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$ select case when a.id is not null then jsonb_build_object('asked_at', a.asked_at, 'decision', a.decision, 'decided_at', a.decided_at) end $$;

ALTER FUNCTION ourvidz.appeal_seen(a ourvidz.appeals) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.append(p_jobs uuid[], p_type text, p_data jsonb[], p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                 prev_hash, hash)
  select next.*
  from unnest(p_jobs, p_data) as given (job_id, data)
  cross join lateral (select * from public.jobs where id = given.job_id limit 1) as j
  cross join lateral ourvidz.next_event(row(j.*)::public.jobs, p_type, given.data, p_actor, v_now) as next;
end
$$;

ALTER FUNCTION ourvidz.append(p_jobs uuid[], p_type text, p_data jsonb[], p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.append_held(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_type text, p_data jsonb[]) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  return query
  insert into public.job_events as e (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                      prev_hash, hash)
  select next.*
  -- As in lock_claims: in id order, one lookup per job.
  from (select * from unnest(p_jobs, p_claims, p_tokens, p_data) as g (id, claim_no, token, data) order by id) as given
  cross join lateral (
      select * from public.jobs as j
      where j.id = given.id and j.claim_no = given.claim_no
        and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = given.token
      limit 1 for update
  ) as held
  cross join lateral ourvidz.next_event(row(held.*)::public.jobs, p_type, coalesce(given.data, '{}'), 'executor', v_now) as next
  returning e.job_id;
end
$$;

ALTER FUNCTION ourvidz.append_held(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_type text, p_data jsonb[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.append_one(p_job uuid, p_claim bigint, p_token uuid, p_type text, p_data jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                 prev_hash, hash)
  select next.*
  from (
    select * from public.jobs as j
    where j.id = p_job and j.claim_no = p_claim
      and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = p_token
    limit 1 for update
  ) as held
  cross join lateral ourvidz.next_event(row(held.*)::public.jobs, p_type, coalesce(p_data, '{}'), 'executor', v_now) as next;
  return found;
end
$$;

ALTER FUNCTION ourvidz.append_one(p_job uuid, p_claim bigint, p_token uuid, p_type text, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.artifact_generated(p_job uuid, p_claim bigint, p_token uuid, p_artifact jsonb, p_seconds double precision DEFAULT NULL::double precision) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  a public.artifacts := jsonb_populate_record(null::public.artifacts, p_artifact - 'pdq');
  v_digest text;
begin
  perform ourvidz.check_value(p_artifact, 'artifact', json_bytes) from ourvidz.limits;
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  elsif not (exists (select from ourvidz.buckets where name = a.bucket and not public and not uploads)
             and a.path ~ format('^%s/%s/[A-Za-z0-9._-]+$', (select user_id from public.jobs where id = p_job), p_job)) then
    -- The folder names the object's owner: users' read access depends on it, and erasure deletes the paths recorded here.
    raise exception 'An output of job % lies in its own folder of a bucket of ours.', p_job using errcode = 'OV009', column = 'path';
  end if;
  a.pdq := array(select ourvidz.pdq_of(h) from jsonb_array_elements_text(coalesce(p_artifact->'pdq', '[]')) as h);
  -- A repeated call, after the answer to the first was lost: nothing to add.
  if exists (select from public.artifacts where job_id = p_job and kind = a.kind and index = a.index
             and (uploaded_at is not null or claim_no = p_claim and sha256 = a.sha256)) then
    return;
  end if;
  insert into public.artifacts as known (job_id, index, kind, claim_no, seed, bucket, path, media_type, width, height, frames, bytes,
                                         sha256, spool, created_at, metadata, pdq)
  values (p_job, a.index, a.kind, p_claim, a.seed, a.bucket, a.path, a.media_type, a.width, a.height, a.frames, a.bytes,
          a.sha256, a.spool, ourvidz.now(), coalesce(a.metadata, '{}'), a.pdq)
  on conflict (job_id, kind, index) do update
    set claim_no = excluded.claim_no, path = excluded.path, bytes = excluded.bytes, sha256 = excluded.sha256, spool = excluded.spool,
        width = excluded.width, height = excluded.height, frames = excluded.frames, metadata = excluded.metadata, pdq = excluded.pdq;
  select encode(sha256(salt || decode(a.sha256, 'hex')), 'hex') into v_digest from public.job_payloads where job_id = p_job;
  perform ourvidz.append(array[p_job], 'artifact_generated',
    array[jsonb_strip_nulls(jsonb_build_object('index', a.index, 'kind', a.kind, 'seed', a.seed, 'bytes', a.bytes, 'digest', v_digest,
                                               'seconds', round(p_seconds::numeric, 3)))],
    'executor');
end
$_$;

ALTER FUNCTION ourvidz.artifact_generated(p_job uuid, p_claim bigint, p_token uuid, p_artifact jsonb, p_seconds double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.artifact_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into ourvidz.removals (bucket, path, user_id, job_id, asked_at, next_at)
  select new.bucket, new.path, j.user_id, j.id, ourvidz.now(), ourvidz.now() from public.jobs as j where j.id = new.job_id
  on conflict (bucket, path) do nothing;
  return null;
end
$$;

ALTER FUNCTION ourvidz.artifact_removed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.artifact_uploaded(p_job uuid, p_claim bigint, p_token uuid, p_kind text, p_index integer, p_sha256 text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  a public.artifacts;
  v_salt bytea;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  update public.artifacts set uploaded_at = ourvidz.now(), spool = null
  where job_id = p_job and kind = p_kind and index = p_index and uploaded_at is null and sha256 = p_sha256
  returning * into a;
  if not found then
    raise exception 'Job % has no recorded % % with these bytes waiting for upload.', p_job, p_kind, p_index using errcode = 'OV001';
  end if;
  -- The upload put the object back at its path: if still taken down or suspended, move it away again; else nothing is left to move.
  update ourvidz.taken_objects set moved = false, next_at = ourvidz.now() where (bucket, path) = (a.bucket, a.path) and moved;
  delete from ourvidz.taken_objects where (bucket, path) = (a.bucket, a.path) and not down and not suspended and not moved;
  select salt into v_salt from public.job_payloads where job_id = p_job;
  perform ourvidz.append(array[p_job], 'artifact_uploaded',
    array[jsonb_build_object('index', a.index, 'kind', a.kind, 'bytes', a.bytes,
                             'digest', encode(sha256(v_salt || decode(a.sha256, 'hex')), 'hex'))],
    'executor');
end
$$;

ALTER FUNCTION ourvidz.artifact_uploaded(p_job uuid, p_claim bigint, p_token uuid, p_kind text, p_index integer, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.artifacts_removed(p_jobs uuid[]) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  update public.artifacts as a set deleted_at = ourvidz.now()
  where a.job_id = any (p_jobs) and num_nulls(a.deleted_at) = 1
    and (select true from public.job_events as e
         where e.job_id = a.job_id and e.type in ('removed', 'failed')
           and case e.type when 'failed' then (e.data->>'final')::boolean
               else e.data->>'what' = 'job' or a.index = (e.data->>'index')::integer and a.kind in (e.data->>'kind', 'thumbnail') end
         limit 1)
$$;

ALTER FUNCTION ourvidz.artifacts_removed(p_jobs uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.as_settings(p_statement_s integer, p_lock_s integer, p_idle_s integer, p_work_mem_mb integer) RETURNS TABLE(setting text, wanted text)
    LANGUAGE sql IMMUTABLE
    AS $$
  values ('statement_timeout', p_statement_s || 's'), ('lock_timeout', p_lock_s || 's'),
         ('idle_in_transaction_session_timeout', p_idle_s || 's'), ('work_mem', (p_work_mem_mb * 1024)::text)
$$;

ALTER FUNCTION ourvidz.as_settings(p_statement_s integer, p_lock_s integer, p_idle_s integer, p_work_mem_mb integer) OWNER TO ourvidz_owner;

CREATE TABLE public.consents (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    sha256 text NOT NULL,
    statement_version text NOT NULL,
    attested_at timestamp with time zone NOT NULL,
    withdrawn_at timestamp with time zone,
    CONSTRAINT consents_sha256 CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT consents_version CHECK ((statement_version ~ '^[A-Za-z0-9._-]{1,40}$'::text))
);

ALTER TABLE public.consents OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.consents.statement_version IS 'The words that the person agreed to (ourvidz/safety/consent.py).';

CREATE FUNCTION ourvidz.attest(p_user uuid, p_sha256 text, p_version text) RETURNS public.consents
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  c public.consents;
begin
  if p_sha256 !~ '^[0-9a-f]{64}$' is not false then
    raise exception 'sha256 must be 64 hex digits in lower case.' using errcode = 'OV009', column = 'sha256';
  elsif p_version !~ '^[A-Za-z0-9._-]{1,40}$' is not false then
    raise exception 'statement_version must name the statement that was agreed to, in 1 to 40 letters and digits.'
      using errcode = 'OV009', column = 'statement_version';
  end if;
  -- Not while the person is being erased: the attestation would stay behind.
  perform from public.profiles where id = p_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  insert into public.consents (user_id, sha256, statement_version, attested_at)
  values (p_user, p_sha256, p_version, ourvidz.now())
  on conflict (user_id, sha256) where withdrawn_at is null do nothing;
  select * into c from public.consents where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null;
  return c;
end
$_$;

ALTER FUNCTION ourvidz.attest(p_user uuid, p_sha256 text, p_version text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.awaits_approval(p_job uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from public.videos as v where v.preview_job_id = p_job and (
    v.approved_at is null or exists (select from public.jobs as f where f.id = v.video_job_id and f.status in ('failed', 'cancelled'))))
$$;

ALTER FUNCTION ourvidz.awaits_approval(p_job uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.backoff(p_failures integer, p_job_type text DEFAULT NULL::text) RETURNS interval
    LANGUAGE sql
    AS $$
  select make_interval(secs => least(backoff_max, backoff_base * backoff_factor ^ (p_failures - 1))
                               * coalesce((select backoff_scale from ourvidz.job_types where name = p_job_type), 1)
                               * (1 - backoff_jitter * random()))
  from ourvidz.policy
$$;

ALTER FUNCTION ourvidz.backoff(p_failures integer, p_job_type text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.balance_guard() RETURNS trigger
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if pg_trigger_depth() < 2 or current_user <> 'ourvidz_owner' then
    raise exception 'The balance of profile % may change only by a transfer of tokens.', new.id
      using errcode = 'OV004', hint = 'Call ourvidz.grant_tokens or ourvidz.revoke_tokens, or `ourvidz tokens grant`.';
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.balance_guard() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.balance_opened() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_caller constant record := ourvidz.caller();
  v_key constant text := gen_random_uuid();
  v_opens constant boolean := tg_op = 'INSERT';
  p constant public.profiles := case when tg_op = 'INSERT' then new else old end;
begin
  if v_opens and v_caller.role in ('anon', 'authenticated') and not v_caller.admin then
    raise exception 'A profile that its user makes begins with no tokens.' using errcode = 'OV017';
  end if;
  insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)
  select p.id, leg.account, leg.sign * p.token_balance, case when v_opens then 'opening' else 'closing' end, v_key,
         case when v_opens then 'The profile came with it.' else 'The profile was deleted.' end, 'system', ourvidz.now()
  from (values ('issued', case when v_opens then -1 else 1 end), ('available', case when v_opens then 1 else -1 end)) as leg (account, sign);
  return null;
end
$$;

ALTER FUNCTION ourvidz.balance_opened() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.beside(j public.jobs) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select jsonb_build_object('format', j.format, 'quality', j.quality, 'model_type', j.model_type, 'worker_type', j.worker_type,
                            'metadata', j.metadata, 'error_message', j.error_message)
$$;

ALTER FUNCTION ourvidz.beside(j public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.block_add(p_sha256 text[], p_pdq text[], p_source text, p_actor text, p_subject text DEFAULT NULL::text, p_report uuid DEFAULT NULL::uuid) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_new integer;
begin
  insert into ourvidz.blocked_hashes (sha256, pdq, source, subject, report_id, added_at)
  select given.sha256, ourvidz.pdq_of(given.pdq), p_source, p_subject, p_report, ourvidz.now()
  from (select distinct one as sha256, null as pdq from unnest(p_sha256) as one union select null, one from unnest(p_pdq) as one) as given
  on conflict do nothing;
  get diagnostics v_new = row_count;
  if v_new > 0 then
    perform ourvidz.moderated('hash_added', p_actor, p_report => p_report, p_subject => p_subject);
  end if;
  return v_new;
end
$$;

ALTER FUNCTION ourvidz.block_add(p_sha256 text[], p_pdq text[], p_source text, p_actor text, p_subject text, p_report uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.block_drop(p_source text, p_actor text) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_gone integer;
begin
  delete from ourvidz.blocked_hashes where source = p_source and subject is null;
  get diagnostics v_gone = row_count;
  if v_gone > 0 then
    perform ourvidz.moderated('hash_removed', p_actor);
  end if;
  return v_gone;
end
$$;

ALTER FUNCTION ourvidz.block_drop(p_source text, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.block_output(p_subject text, p_actor text, p_cause text, p_report uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row ourvidz.takedowns;
  v_sha256 text[];
  v_pdq text[];
  v_copy ourvidz.takedowns;
begin
  perform ourvidz.takedown(p_subject, 'blocked', p_actor, p_cause);
  select * into v_row from ourvidz.takedowns where subject = p_subject;
  select array_agg(distinct a.sha256), array_agg(distinct encode(substring(bit_send(h) from 5), 'hex')) filter (where h is not null)
  into v_sha256, v_pdq
  from public.artifacts as a left join lateral unnest(a.pdq) as h on true
  where a.job_id = v_row.job_id and a.kind in (v_row.kind, 'thumbnail') and a.index = v_row.index;
  perform ourvidz.block_add(v_sha256, v_pdq, 'takedown', p_actor, p_subject, p_report);
  for v_copy in select * from ourvidz.copies_of(v_row, v_sha256, v_pdq) order by subject loop
    v_copy := ourvidz.takedown_of(v_copy);
    perform ourvidz.takedown(v_copy.subject, 'hidden', p_actor, 'copy') where not v_copy.reviewed;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.block_output(p_subject text, p_actor text, p_cause text, p_report uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.bound_row() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row jsonb := to_jsonb(new);
begin
  if tg_op = 'UPDATE' then
    select coalesce(jsonb_object_agg(n.key, n.value), '{}') into v_row
    from jsonb_each(v_row) as n join jsonb_each(to_jsonb(old)) as o using (key) where n.value <> o.value;
  end if;
  perform ourvidz.rpc('bound_row', v_row);
  perform ourvidz.check_written(pg_column_size(v_row) + 100);
  return new;
end
$$;

ALTER FUNCTION ourvidz.bound_row() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.caller(OUT role text, OUT user_id uuid, OUT admin boolean) RETURNS record
    LANGUAGE sql STABLE
    AS $$
  select jwt->>'role', (jwt->>'sub')::uuid, coalesce(jwt->'app_metadata'->>'role' = 'admin', false)
  from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb as jwt) as claims
$$;

ALTER FUNCTION ourvidz.caller(OUT role text, OUT user_id uuid, OUT admin boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.cancel(p_job uuid, p_version integer DEFAULT NULL::integer, p_actor text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, p_version);
  v_actor constant text := coalesce(p_actor, ourvidz.actor(j.user_id));
begin
  if j.status = 'cancelled' then
    return 'cancelled';
  elsif j.status in ('completed', 'failed') then
    raise exception 'Job % is % already: there is nothing to cancel.', p_job, j.status using errcode = 'OV001';
  elsif j.cancel_requested then
    return 'cancel_requested';
  elsif j.executor_id is null then
    perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], v_actor);
    return 'cancelled';
  end if;
  perform ourvidz.append(array[p_job], 'cancel_requested', array['{}'::jsonb], v_actor);
  perform pg_notify('ourvidz', j.executor_id::text);
  return 'cancel_requested';
end
$$;

ALTER FUNCTION ourvidz.cancel(p_job uuid, p_version integer, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.canonical_sampler(p_limit jsonb, p_value jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
  select coalesce(case when jsonb_typeof(p_value) = 'string' then p_limit->'same'->ourvidz.scheduler_key(p_value #>> '{}') end, p_value)
$$;

ALTER FUNCTION ourvidz.canonical_sampler(p_limit jsonb, p_value jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.event_xid() RETURNS xid8
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return (pg_current_xact_id()::text::bigint
          + coalesce((select i.xid_offset from ourvidz.identities as i order by i.n desc limit 1), 0))::text::xid8;
end
$$;

ALTER FUNCTION ourvidz.event_xid() OWNER TO ourvidz_owner;

CREATE TABLE public.job_events (
    seq bigint NOT NULL,
    xid xid8 DEFAULT ourvidz.event_xid() NOT NULL,
    submitted_on date NOT NULL,
    job_id uuid NOT NULL,
    version integer NOT NULL,
    type text NOT NULL,
    from_status text,
    to_status text NOT NULL,
    claim_no bigint,
    actor text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT job_events_actor_check CHECK ((actor ~ '^[a-z]+(:[A-Za-z0-9._-]{1,80})?$'::text))
);

ALTER TABLE public.job_events OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.charge_due(e public.job_events, p_held bigint, p_since integer) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$
  select case when e.type = 'failed' and coalesce((e.data->>'final')::boolean, false) then 0
              when not j.enhanced and k.enhance then p_held * fresh * ourvidz.price_without_enhancement(k) / (owed * greatest(k.price, 1))
              else p_held * fresh / owed end
  from (
    select least(ourvidz.delivered(e.job_id) - earlier, owed) as fresh, owed
    from (
      select earlier, greatest(ourvidz.outputs_asked(e.job_id) - earlier, 1) as owed
      from (select coalesce((select (h.data->>'delivered')::bigint from public.job_events as h
                             where h.job_id = e.job_id and h.version = p_since), 0) as earlier) as counted
    ) as asked
  ) as shares
  cross join (select enhanced, job_type from public.jobs where id = e.job_id limit 1) as j
  left join ourvidz.job_types as k on k.name = j.job_type
$$;

ALTER FUNCTION ourvidz.charge_due(e public.job_events, p_held bigint, p_since integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_blocked(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text, p_pdq text[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  return ourvidz.is_blocked(p_sha256, p_pdq);
end
$$;

ALTER FUNCTION ourvidz.check_blocked(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text, p_pdq text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_column_kinds() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_relation constant text := format('%s.%s', tg_table_schema, tg_table_name);
  v_row constant jsonb := to_jsonb(new);
  v_wrong constant text[] := array(
    select split_part(c.name, '.', 3) from ourvidz.column_kinds as c
    where starts_with(c.name, v_relation || '.') and not ourvidz.matches_kind(v_row->split_part(c.name, '.', 3), c.kind) order by c.name);
begin
  if v_wrong <> '{}' then
    raise exception '% may not hold what came in %: it takes a value of a list, or an id of a fixed form.', v_relation,
      array_to_string(v_wrong, ', ')
      using errcode = 'OV009', column = v_wrong[1], hint = 'ourvidz.column_kinds says what each column takes.';
  end if;
  return new;
end
$$;

ALTER FUNCTION ourvidz.check_column_kinds() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_consent(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user uuid;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select user_id into v_user from public.jobs where id = p_job;
  if p_sha256 is null then
    perform ourvidz.refuse_unconsented(v_user, sha256) from ourvidz.job_references where job_id = p_job;
  else
    perform ourvidz.refuse_unconsented(v_user, p_sha256);
    insert into ourvidz.job_references (job_id, sha256, seen_at) values (p_job, p_sha256, ourvidz.now()) on conflict do nothing;
  end if;
  return ourvidz.is_made_for(v_user, p_sha256);
end
$$;

ALTER FUNCTION ourvidz.check_consent(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_enhancements(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_since timestamptz;
  v_wait integer;
begin
  perform ourvidz.lock_user_submissions(p_user);
  perform ourvidz.enhance_expire();
  if not exists (select from ourvidz.enhancers where beat_at > v_now - interval '20 s') then
    raise exception 'No enhancer is running, so the prompt cannot be enhanced now.'
      using errcode = 'OV030', hint = 'Use the prompt as it is, or try again later.';
  elsif (select count(*) >= 30 from ourvidz.enhancement_requests
         where enhanced is null and failed is null and asked_at > v_now - ourvidz.enhance_patience()) then
    raise exception 'Too many prompts wait to be enhanced.' using errcode = 'OV030', hint = 'Use the prompt as it is, or try again later.';
  end if;
  select asked_at into v_since from ourvidz.enhancement_requests where user_id = p_user order by asked_at desc offset 19 limit 1;
  if v_since > v_now - interval '1 minute' then
    v_wait := ceil(extract(epoch from v_since + interval '1 minute' - v_now));
    raise exception 'More than 20 prompts within a minute: try again in % s.', v_wait
      using errcode = 'OV016', detail = format('Retry after %s s.', v_wait);
  elsif (select count(*) >= 3 from ourvidz.enhancement_requests
         where user_id = p_user and enhanced is null and failed is null and asked_at > v_now - ourvidz.enhance_patience()) then
    raise exception 'Three of your prompts wait to be enhanced already: try again in 5 s.'
      using errcode = 'OV016', detail = 'Retry after 5 s.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_enhancements(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_executor(p_executor uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_login constant name := (select login from ourvidz.executors where id = p_executor);
begin
  if v_login <> session_user and not ourvidz.operates() then
    raise exception 'Executor % was registered by another login than %.', p_executor, session_user
      using errcode = 'OV017', hint = 'Use the login that registered it, or register again.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_executor(p_executor uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_executor_info(p_names text[], p_info jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  if cardinality(p_names) > 64 or exists (select from unnest(p_names) as name where length(name) > 80) then
    raise exception 'More than 64 names, or one longer than 80 characters.' using errcode = 'OV009', column = 'lanes';
  elsif pg_column_size(p_info) > 8192 then
    raise exception 'info takes % bytes; at most 8192 are kept.', pg_column_size(p_info) using errcode = 'OV009', column = 'info';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_executor_info(p_names text[], p_info jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_insert_columns(n public.jobs) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_name text;
  v_value text;
begin
  if n.hidden or jsonb_strip_nulls(to_jsonb(n) - '{user_id,job_type,format,quality,model_type,metadata,project_id,video_id,image_id,status,hidden}'::text[])
     <> '{}' then
    raise exception 'A job''s row may change only by an event.'
      using errcode = 'OV004', hint = 'Give user_id, job_type, format, quality, model_type, metadata, project_id, video_id, image_id and status; '
                                      'or call public.queue_job, or ourvidz.submit_batch.';
  elsif n.status <> 'queued' then
    raise exception 'A new job is queued; its status cannot be "%".', left(n.status, 40) using errcode = 'OV009', column = 'status';
  end if;
  for v_name, v_value in values ('format', n.format), ('quality', n.quality), ('model_type', n.model_type) loop
    if length(v_value) > 100 then
      raise exception '% may have at most 100 characters.', v_name using errcode = 'OV009', column = v_name;
    end if;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.check_insert_columns(n public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_job_access(p_job text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_me record;
  v_user uuid;
begin
  select * into v_me from ourvidz.caller();
  select user_id into v_user from public.jobs where id = p_job::uuid
    and (v_me.role is null or v_me.role = 'service_role' or v_me.admin or user_id = v_me.user_id and not hidden);
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  end if;
  return v_user;
end
$$;

ALTER FUNCTION ourvidz.check_job_access(p_job text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_lanes(p_lanes text[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_lanes constant text[] := (select lanes from ourvidz.logins where name = session_user);
begin
  if not p_lanes <@ v_lanes and not ourvidz.operates() then
    raise exception 'Login % may serve the lanes %, and not %.', session_user, array_to_string(v_lanes, ', '), array_to_string(p_lanes, ', ')
      using errcode = 'OV017', hint = 'Start the executor with these lanes, or change the login: ourvidz logins lanes.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_lanes(p_lanes text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_message(p jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_type constant text := coalesce(p->'raw'->>'type', p->'raw'->>'jobType');
  v_queue text;
begin
  select queue into v_queue from ourvidz.job_types where name = v_type;
  if v_queue <> p->>'queue' and p->>'queue' in (select queue from ourvidz.job_types) then
    raise exception '% belongs into %, not into %.', v_type, v_queue, p->>'queue' using errcode = 'OV009', column = 'type';
  elsif v_queue is not null and p->'raw'->>'bucket' <> v_type then
    raise exception 'The bucket of a % is %.', v_type, v_type using errcode = 'OV009', column = 'bucket';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_message(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_owned(a ourvidz.asked_job) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_address text;
begin
  if a.project_id is not null and not exists (select from public.projects where id = a.project_id and user_id = a.user_id) then
    perform ourvidz.refuse_missing('project', 'project_id');
  elsif a.video_id is not null and not exists (select from public.videos where id = a.video_id and user_id = a.user_id) then
    perform ourvidz.refuse_missing('video', 'video_id');
  elsif a.image_id is not null and not exists (select from public.images where id = a.image_id and user_id = a.user_id) then
    perform ourvidz.refuse_missing('image', 'image_id');
  elsif a.metadata->>'character_id' is not null
    and not exists (select from public.characters where user_id = a.user_id and id::text = lower(a.metadata->>'character_id')) then
    perform ourvidz.refuse_missing('character', 'character_id');
  end if;
  for v_address in select value from jsonb_each_text(a.settings->'references') loop
    -- URLs are checked by check_references and the fetcher; an object of ours must be in its user's own folder.
    if v_address !~ '^[a-z]+://' and (v_address !~ format('^[^/]+/%s/.', a.user_id) or v_address ~ '/[.]{0,2}(/|$)') then
      perform ourvidz.refuse_missing('reference picture', 'references');
    end if;
  end loop;
end
$_$;

ALTER FUNCTION ourvidz.check_owned(a ourvidz.asked_job) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_pace(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_plan ourvidz.plans;
  v_since timestamptz;
begin
  perform ourvidz.lock_user_submissions(p_user);
  perform ourvidz.check_unfinished(p_user, 1);
  v_plan := ourvidz.plan_of(p_user);
  -- The N-th newest job, where the plan allows N submits a minute: while it is younger than a minute, the limit is reached.
  select created_at into v_since from public.jobs
  where user_id = p_user order by created_at desc offset v_plan.submits_per_minute - 1 limit 1;
  perform ourvidz.refuse_pace(v_plan, v_since);
end
$$;

ALTER FUNCTION ourvidz.check_pace(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_pictures(p_fresh ourvidz.asked_job[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  a ourvidz.asked_job;
  v_address text;
  v_sha256 text;
begin
  for a in select * from unnest(p_fresh) as f where coalesce(f.settings->'references', '{}') <> '{}' loop
    for v_address in select value from jsonb_each_text(a.settings->'references') loop
      select made.sha256 into v_sha256
      from public.artifacts as made join public.jobs as j on j.id = made.job_id and j.user_id = a.user_id
      where made.bucket = split_part(v_address, '/', 1) and made.path = substr(v_address, strpos(v_address, '/') + 1);
      if found then
        perform ourvidz.refuse_unconsented(a.user_id, v_sha256);
      elsif ourvidz.all_refuse_pictures(a.lane) then
        raise exception 'No executor takes reference pictures that users bring: none has an image screen to look at them first.'
          using errcode = 'OV023', column = 'references', hint = 'Nothing was queued. Leave the picture out, or use one that was made here. '
            'An operator sets OURVIDZ_IMAGE_SCREEN on the executors (docs/safety.md).';
      end if;
    end loop;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.check_pictures(p_fresh ourvidz.asked_job[]) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.job_types (
    name text NOT NULL,
    family text NOT NULL,
    queue text NOT NULL,
    fast boolean NOT NULL,
    video boolean NOT NULL,
    enhance boolean NOT NULL,
    init_image boolean NOT NULL,
    time_limit integer NOT NULL,
    price integer NOT NULL,
    backoff_scale double precision NOT NULL,
    defaults jsonb NOT NULL,
    limits jsonb NOT NULL,
    fallback text,
    label text DEFAULT ''::text NOT NULL,
    extension text DEFAULT 'png'::text NOT NULL,
    media_type text DEFAULT 'image/png'::text NOT NULL,
    model_variant text DEFAULT ''::text NOT NULL,
    bucket_bytes bigint DEFAULT 0 NOT NULL,
    expected_seconds double precision DEFAULT 60 NOT NULL
);

ALTER TABLE ourvidz.job_types OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.job_types.fallback IS 'The type that stands in when this one''s family cannot run (ourvidz.reroute).';

CREATE FUNCTION ourvidz.check_references(p_kind ourvidz.job_types, p_references jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
declare
  v_slot text;
  v_address jsonb;
begin
  if jsonb_typeof(p_references) <> 'object' then
    raise exception 'references must map a slot to a ''bucket/path'' or an https:// URL.' using errcode = 'OV009', column = 'references';
  end if;
  for v_slot, v_address in select * from jsonb_each(p_references) loop
    if not p_kind.limits->'slots'->'in' ? v_slot then
      raise exception 'A % has no reference "%"; it takes %.', p_kind.name, left(v_slot, 40), p_kind.limits->'slots'->'in'
        using errcode = 'OV009', column = 'references';
    elsif jsonb_typeof(v_address) <> 'string' or not (
            length(v_address #>> '{}') <= 500 and v_address #>> '{}' ~ '^[A-Za-z0-9_.-]+/[ -~]+$'
            or length(v_address #>> '{}') <= 2000 and v_address #>> '{}' ~ '^https://[!-~]+$') then
      raise exception 'Reference % must be a ''bucket/path'' of at most 500 characters or an https:// URL of at most 2,000, in plain ASCII.', v_slot
        using errcode = 'OV009', column = 'references';
    end if;
  end loop;
  if p_kind.init_image and not p_references ? 'init' then
    raise exception '% needs an init image.', p_kind.name using errcode = 'OV009', column = 'references';
  elsif p_references ? 'single' and p_references ?| array['first_frame', 'last_frame'] then
    raise exception '%: give either single or first_frame/last_frame, not both.', p_kind.name using errcode = 'OV009', column = 'references';
  end if;
end
$_$;

ALTER FUNCTION ourvidz.check_references(p_kind ourvidz.job_types, p_references jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_references_and_settings(a ourvidz.asked_job, p_kind ourvidz.job_types) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if num_nonnulls(a.project_id, a.video_id, a.image_id, a.metadata->'character_id', a.settings->'references') > 0 then
    perform ourvidz.check_owned(a);
  end if;
  if coalesce(jsonb_typeof(a.chosen->'compel_enabled'), 'boolean') <> 'boolean' then
    raise exception 'compel_enabled must be true or false.' using errcode = 'OV009', column = 'compel_enabled';
  end if;
  perform ourvidz.check_references(p_kind, coalesce(a.settings->'references', '{}'));
  perform ourvidz.check_settings(a.job_type, a.settings, p_kind.limits);
end
$$;

ALTER FUNCTION ourvidz.check_references_and_settings(a ourvidz.asked_job, p_kind ourvidz.job_types) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_registration(p_name text, p_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_policy ourvidz.policy;
begin
  select * into v_policy from ourvidz.policy;
  -- Locks what is counted below until this executor is inserted: otherwise two logins could take one name, or one login exceed its limit.
  perform ourvidz.lock_names('executor', array['name ' || p_name, 'login ' || session_user]);
  if exists (select from ourvidz.executors where name = p_name and login <> session_user and state <> 'gone' and lease_until > p_now) then
    raise exception 'An executor named % of another login is alive.', p_name
      using errcode = 'OV017', hint = 'Give this one another name (ourvidz worker --name), or stop that one.';
  elsif (select count(*) >= v_policy.executors_per_login from ourvidz.executors
         where login = session_user and state <> 'gone' and lease_until > p_now) then
    raise exception 'Login % has % executors alive, which is all it may have.', session_user, v_policy.executors_per_login
      using errcode = 'OV016', hint = 'Stop one, or give this host a login of its own: ourvidz logins add.';
  elsif (select count(*) >= v_policy.registrations_per_hour from ourvidz.executors
         where login = session_user and started_at > p_now - interval '1 hour') then
    raise exception 'Login % registered % executors within an hour.', session_user, v_policy.registrations_per_hour
      using errcode = 'OV016', hint = 'See in its log why it starts again and again.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_registration(p_name text, p_now timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_request(p jsonb, p_bounded boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_limits ourvidz.limits;
  v_part text;
begin
  select * into v_limits from ourvidz.limits;
  if not p_bounded then  -- the rest is hashed as text and populates columns
    perform ourvidz.check_value(p - '{config,metadata,settings,request}'::text[], 'request', v_limits.row_bytes);
  end if;
  foreach v_part in array array['config', 'metadata', 'settings'] loop
    if coalesce(jsonb_typeof(p->v_part), 'null') not in ('object', 'null') then
      raise exception '% must be an object.', v_part using errcode = 'OV009', column = v_part;
    end if;
    if not p_bounded or pg_column_size(p->v_part) > v_limits.settings_bytes then
      perform ourvidz.check_value(p->v_part, v_part, v_limits.settings_bytes);
    end if;
  end loop;
  if coalesce(jsonb_typeof(p->'settings'->'references'), 'null') not in ('object', 'null') then
    raise exception 'references must map a slot to a ''bucket/path'' or an https:// URL.' using errcode = 'OV009', column = 'references';
  end if;
  foreach v_part in array array['negative_prompt', 'negativePrompt'] loop
    if coalesce(jsonb_typeof(p->'metadata'->v_part), 'null') not in ('string', 'null') then
      raise exception 'metadata.% must be text.', v_part using errcode = 'OV009', column = 'negative_prompt';
    end if;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.check_request(p jsonb, p_bounded boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_requests(p_asked ourvidz.asked_job[], p_lock boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  a ourvidz.asked_job;
  v_last ourvidz.asked_job;
  v_type ourvidz.job_types;
begin
  if p_lock then
    perform ourvidz.lock_verified(array(select distinct user_id from unnest(p_asked)));
  end if;
  select asked.user_id into a.user_id from (select distinct user_id from unnest(p_asked)) as asked
  where not ourvidz.may_run(asked.user_id) limit 1;
  if found then
    perform ourvidz.refuse_unverified(a.user_id);
  end if;
  if cardinality(p_asked) > 1 and exists (
       select from unnest(p_asked) as x group by x.id having count(distinct x.body_digest) > 1
       union all
       select from unnest(p_asked) as x where x.idempotency_key is not null
       group by x.user_id, x.idempotency_key having count(distinct x.body_digest) > 1) then
    raise exception 'Two different jobs of this batch have the same id or idempotency key.'
      using errcode = 'OV008', hint = 'Give each job a key of its own, or send the very same body to get the same job.';
  end if;
  foreach a in array p_asked loop
    if v_type.name is null or a.job_type is distinct from v_type.name then
      v_type := ourvidz.kind_of(a.job_type);
    end if;
    if coalesce(length(trim(a.prompt)), 0) not between 1 and 4000 then
      raise exception 'The prompt must have 1 to 4,000 characters.' using errcode = 'OV009', column = 'prompt';
    elsif length(a.negative_prompt) > 2000 then
      raise exception 'The negative prompt may have at most 2,000 characters.' using errcode = 'OV009', column = 'negative_prompt';
    end if;
    if (a.user_id, a.job_type, a.settings, a.chosen, a.metadata, a.project_id, a.video_id)
       is distinct from (v_last.user_id, v_last.job_type, v_last.settings, v_last.chosen, v_last.metadata, v_last.project_id, v_last.video_id) then
      perform ourvidz.check_references_and_settings(a, v_type);
      v_last := a;
    end if;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.check_requests(p_asked ourvidz.asked_job[], p_lock boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_retries(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_plan constant ourvidz.plans := ourvidz.plan_of(p_user);
  v_since timestamptz;
begin
  select at into v_since from ourvidz.token_entries
  where user_id = p_user and account = 'held' and kind = 'hold' order by seq desc offset v_plan.submits_per_minute - 1 limit 1;
  perform ourvidz.refuse_pace(v_plan, v_since);
end
$$;

ALTER FUNCTION ourvidz.check_retries(p_user uuid) OWNER TO ourvidz_owner;

CREATE TABLE public.job_payloads (
    job_id uuid NOT NULL,
    user_id uuid NOT NULL,
    prompt text NOT NULL,
    negative_prompt text,
    settings jsonb NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    salt bytea NOT NULL,
    body_digest bytea NOT NULL,
    idempotency_key text,
    enhanced_prompt text,
    error_message text,
    erased_at timestamp with time zone,
    set_aside jsonb,
    source text,
    CONSTRAINT job_payloads_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 200))),
    CONSTRAINT job_payloads_negative_prompt_check CHECK ((length(negative_prompt) <= 2000)),
    CONSTRAINT job_payloads_prompt CHECK ((((length(prompt) >= 1) AND (length(prompt) <= 4000)) OR ((erased_at IS NOT NULL) AND (prompt = ''::text)))),
    CONSTRAINT job_payloads_settings_check CHECK ((jsonb_typeof(settings) = 'object'::text))
);

ALTER TABLE public.job_payloads OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.job_payloads.set_aside IS 'Fields of the request that were not used, each with a word from ourvidz.set_aside_rules or ourvidz.read_settings.';

COMMENT ON COLUMN public.job_payloads.source IS 'The way the request came: rpc, row, redis, cli, import; null before release 0004.';

CREATE FUNCTION ourvidz.check_same_request(a ourvidz.asked_job, p public.job_payloads) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  if p.user_id is distinct from a.user_id or p.body_digest <> a.body_digest then
    raise exception 'The id or idempotency key of this job was used before, for a different one (%).',
      case when p.user_id = a.user_id then p.job_id::text else 'another user''s' end
      using errcode = 'OV008', hint = 'Use a new key for a new job, or send the very same body to get the same job.';
  end if;
  return true;
end
$$;

ALTER FUNCTION ourvidz.check_same_request(a ourvidz.asked_job, p public.job_payloads) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_settings(p_job_type text, p_settings jsonb, p_limits jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    AS $$
declare
  v_field text;
  v_limit jsonb;
  v_value jsonb;
begin
  for v_field, v_limit in select * from jsonb_each(p_limits) loop
    v_value := case when v_field = 'size' then jsonb_build_array(p_settings->'width', p_settings->'height') else p_settings->v_field end;
    if v_value is null then
      continue;
    elsif v_limit = '{"in": []}' then
      raise exception 'A % takes no %.', p_job_type, v_field
        using errcode = 'OV009', column = v_field, hint = 'ourvidz.job_types.limits says what each type takes.';
    elsif jsonb_typeof(v_limit) = 'object' then
      v_value := ourvidz.canonical_sampler(v_limit, v_value);  -- jobs that were queued under an older release keep the name as it was sent
      continue when v_limit->'in' @> jsonb_build_array(v_value) and (jsonb_typeof(v_value) = 'string' or strpos(v_value::text, '.') = 0);
    elsif jsonb_typeof(v_value) = 'number' then
      continue when v_value::numeric between (v_limit->>0)::numeric and (v_limit->>1)::numeric
                and (jsonb_array_length(v_limit) = 2 or scale(v_value::numeric) = 0);
    end if;
    raise exception '% must be % for a %; what came is not.', v_field, ourvidz.limit_said(v_limit), p_job_type
      using errcode = 'OV009', column = v_field;
  end loop;
  if (p_settings->>'steps')::float8 * (p_settings->>'strength')::float8 < 1 then
    raise exception 'steps times strength of a % must be at least 1, or nothing would be drawn.', p_job_type using errcode = 'OV009', column = 'steps';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_settings(p_job_type text, p_settings jsonb, p_limits jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_unfinished(p_user uuid, p_more integer) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_plan constant ourvidz.plans := ourvidz.plan_of(p_user);
begin
  if (select count(*) + p_more > v_plan.unfinished
      from (select from public.jobs where user_id = p_user and completed_at is null limit v_plan.unfinished) as unfinished) then
    raise exception 'The plan % allows % unfinished jobs: wait for one to end, or cancel one.', v_plan.name, v_plan.unfinished
      using errcode = 'OV015';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_unfinished(p_user uuid, p_more integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_value(p jsonb, p_field text, p_bytes integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
begin
  if pg_column_size(p) > p_bytes then
    raise exception '% may have at most % bytes.', p_field, p_bytes using errcode = 'OV009', column = p_field;
  elsif jsonb_typeof(p) <> 'string' then
    if jsonb_path_exists(p, '$.**{20 to last}') then  -- JSON parsers of other languages fail at ten thousand
      raise exception '% may have at most 20 levels.', p_field using errcode = 'OV009', column = p_field;
    elsif exists (select from jsonb_path_query(p, 'strict $.** ? (@.type() == "number")') as one (n)
                  where abs(n::numeric) >= 1e310 or scale(n::numeric) > 360) then
      raise exception '% holds a number with more than 310 digits before its point or 360 behind it.', p_field
        using errcode = 'OV009', column = p_field;
    end if;
  end if;
  -- PostgREST casts on request (select=title::jsonb): such a number hidden in a text would be rendered then.
  if p::text ~* e'(^|[\\s,:\\[\\\\"])[-+]?([0-9][0-9_]*[.]?|[.][0-9])[0-9_]*e[-+]?[0-9_]{3,}($|[\\s,\\]}\\\\"])' then
    raise exception '% holds a number with an exponent of three digits or more.', p_field using errcode = 'OV009', column = p_field;
  end if;
end
$_$;

ALTER FUNCTION ourvidz.check_value(p jsonb, p_field text, p_bytes integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_values(p jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_limits ourvidz.limits;
  v_field text;
  v_value jsonb;
begin
  select * into v_limits from ourvidz.limits;
  for v_field, v_value in select * from jsonb_each(p) where value not in ('null', 'true', 'false') loop
    perform ourvidz.check_value(
      v_value, v_field, case when jsonb_typeof(v_value) in ('object', 'array') then v_limits.json_bytes else v_limits.text_bytes end);
  end loop;
  if pg_column_size(p) > v_limits.row_bytes then
    raise exception 'All values of a row or request together may have at most % bytes.', v_limits.row_bytes using errcode = 'OV009';
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_values(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_verified(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.lock_verified(array[p_user]);
  if not ourvidz.may_run(p_user) then
    perform ourvidz.refuse_unverified(p_user);
  end if;
end
$$;

ALTER FUNCTION ourvidz.check_verified(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_word(p_word text, p_field text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
begin
  if p_word ~ '^[a-z0-9_]{1,40}$' is not true then
    raise exception 'What an event says must be one word of at most 40 small letters, digits and underscores; % is not.', p_field
      using errcode = 'OV009', column = p_field;
  end if;
end
$_$;

ALTER FUNCTION ourvidz.check_word(p_word text, p_field text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.check_written(p_bytes bigint) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_most constant bigint := (select write_bytes from ourvidz.limits);
  v_written constant bigint := coalesce(nullif(current_setting('ourvidz.written', true), '')::bigint, 0) + p_bytes;
begin
  if (ourvidz.caller()).role is null then
    return;
  elsif v_written > v_most then
    perform ourvidz.rpc('wrote_too_much', jsonb_build_object('most', v_most));
  end if;
  perform set_config('ourvidz.written', v_written::text, true);
end
$$;

ALTER FUNCTION ourvidz.check_written(p_bytes bigint) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.claim(p_executor uuid, p_lanes text[] DEFAULT NULL::text[], p_resident text[] DEFAULT NULL::text[], p_limit integer DEFAULT 1) RETURNS SETOF ourvidz.claimed_job
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  ex record;
  v_lanes text[];
  v_lane text;
  v_overdue timestamptz;
  v_jobs uuid[];
  v_left integer;
begin
  perform ourvidz.refuse_copy();
  perform ourvidz.check_executor(p_executor), ourvidz.check_lanes(p_lanes);
  v_left := ourvidz.claims_left();
  select e.*, p.affinity_wait, p.overdue_wait, p.overdue_share into ex
  from ourvidz.executors as e cross join ourvidz.policy as p where e.id = p_executor;
  if not found or ex.state = 'gone' then
    raise exception 'Executor % was declared gone, and its jobs went to others.', p_executor
      using errcode = 'OV012', hint = 'Register anew.';
  elsif ex.lease_until <= v_now then
    raise exception 'The lease of executor % ran out.', p_executor using errcode = 'OV012', hint = 'Send a heartbeat before claiming.';
  end if;
  -- A claim lost in a power cut would be given out again under the same number, so it is never committed asynchronously.
  if current_setting('synchronous_commit') = 'off' then
    set local synchronous_commit = on;
  end if;
  perform ourvidz.promote();

  -- A fixed share of all claims goes to the longest-waiting job once it is over the bound: a steady stream of better-ranked jobs cannot
  -- starve it.
  if random() < ex.overdue_share then
    v_overdue := v_now - make_interval(secs => ex.overdue_wait);
  end if;
  v_lanes := coalesce(p_lanes, ex.lanes);
  if cardinality(v_lanes) > 1 then
    v_lanes := ourvidz.lane_order(v_lanes, coalesce(p_resident, ex.resident), ex.lane_since, v_now - make_interval(secs => ex.affinity_wait));
  end if;
  foreach v_lane in array coalesce(v_lanes, '{}') loop
    v_jobs := ourvidz.claim_from_lane(ex.id, ex.called, v_lane, least(p_limit, v_left), v_overdue, v_now);
    exit when v_jobs is not null;
  end loop;

  if v_jobs is null then
    update ourvidz.executors set waiting = true where id = p_executor and not waiting;
    return;
  elsif ex.waiting or ex.lane is distinct from v_lane then
    -- Only a switch to a model that must be loaded starts a new stay; between resident models it may go back and forth.
    update ourvidz.executors set waiting = false, lane = v_lane,
      lane_since = case when lane is distinct from v_lane and not v_lane = any (coalesce(p_resident, resident)) then v_now else lane_since end
    where id = p_executor;
  end if;

  perform ourvidz.count_claims(cardinality(v_jobs));
  return query
  select j.id, j.claim_no, ourvidz.claim_token(ex.secret, j.id, j.claim_no), j.user_id, j.job_type, j.lane, p.prompt, p.negative_prompt,
         p.settings, p.metadata, p.enhanced_prompt,
         case when j.claim_no > 1 then (select jsonb_agg(to_jsonb(a) order by a.kind, a.index) from public.artifacts as a where a.job_id = j.id) end,
         j.attempts, j.deadline, j.claimed_at
  from unnest(v_jobs) as taken (id)
  cross join lateral (select * from public.jobs where id = taken.id limit 1) as j
  cross join lateral (select * from public.job_payloads where job_id = taken.id limit 1) as p
  order by j.rank, j.created_at;
end
$$;

ALTER FUNCTION ourvidz.claim(p_executor uuid, p_lanes text[], p_resident text[], p_limit integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.claim_from_lane(p_executor uuid, p_name text, p_lane text, p_limit integer, p_overdue timestamp with time zone, p_now timestamp with time zone) RETURNS uuid[]
    LANGUAGE plpgsql
    SET enable_sort TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_jobs uuid[];
begin
  with alone as materialized (
    select not exists (select from ourvidz.executors
                       where state = 'active' and called <> p_name and p_lane = any (lanes) and lease_until > p_now) as yes
  ), overdue as (
    select * from public.jobs
    where p_overdue is not null and ready and lane = p_lane and run_at < p_overdue
      and (crashed_on is distinct from p_name or (select yes from alone))
      and ourvidz.may_run(user_id)
    order by run_at limit p_limit for update skip locked
  ), in_order as (
    select * from public.jobs
    where ready and lane = p_lane and (p_overdue is null or run_at >= p_overdue)
      and (crashed_on is distinct from p_name or (select yes from alone))
      and ourvidz.may_run(user_id)
    order by rank, run_at limit p_limit for update skip locked
  ), picked as materialized (  -- row by row, so that nothing is locked beyond the limit
    (select * from overdue union all select * from in_order) limit p_limit
  ), claimed as (
    insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                   prev_hash, hash)
    select next.*
    from picked
    cross join lateral (
      select jsonb_build_object('executor_id', p_executor, 'executor', p_name, 'deadline', ourvidz.utc_text(p_now + make_interval(secs => time_limit))) as data
      from ourvidz.job_types where name = picked.job_type limit 1
    ) as told
    cross join lateral ourvidz.next_event(row(picked.*)::public.jobs, 'claimed', told.data, 'executor:' || p_name, p_now) as next
    returning job_id
  )
  select array_agg(job_id) into v_jobs from claimed;
  return v_jobs;
end
$$;

ALTER FUNCTION ourvidz.claim_from_lane(p_executor uuid, p_name text, p_lane text, p_limit integer, p_overdue timestamp with time zone, p_now timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.claim_token(secret uuid, job_id uuid, claim_no bigint) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select substr(encode(sha256(convert_to(secret::text || '/' || job_id::text || '/' || claim_no::text, 'UTF8')), 'hex'), 1, 32)::uuid
$$;

ALTER FUNCTION ourvidz.claim_token(secret uuid, job_id uuid, claim_no bigint) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.claims_left() RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_policy ourvidz.policy;
  v_login ourvidz.logins;
  v_left integer;
begin
  if ourvidz.operates() then
    return null;
  end if;
  select * into v_policy from ourvidz.policy;
  select * into v_login from ourvidz.logins where name = session_user;
  v_left := v_policy.claims_per_minute - case when v_login.minute > ourvidz.now() - interval '1 minute' then v_login.claims else 0 end;
  if v_left <= 0 then
    raise exception 'Login % was given % prompts within a minute.', session_user, v_policy.claims_per_minute
      using errcode = 'OV016', hint = 'Try again in a minute. Is it stolen? See docs/security.md. Does one login serve many devices? Give each host its own.';
  end if;
  return v_left;
end
$$;

ALTER FUNCTION ourvidz.claims_left() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.complete(p_job uuid, p_claim bigint, p_token uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_outputs bigint;
  v_open bigint;
begin
  select count(*), count(*) filter (where uploaded_at is null) into v_outputs, v_open from public.artifacts where job_id = p_job;
  if v_open > 0 and ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) <> '{}' then
    raise exception 'Job % has an output that is not uploaded yet.', p_job using errcode = 'OV001', hint = 'Upload it, then complete.';
  elsif not ourvidz.append_one(p_job, p_claim, p_token, 'completed', jsonb_build_object('artifacts', v_outputs)) then
    perform ourvidz.refuse_stale(p_job, p_claim);
  -- Checked again under the job's lock: this claim may have recorded an output meanwhile, by a call that it gave up waiting for.
  elsif (select count(*) from public.artifacts where job_id = p_job) <> v_outputs then
    raise exception 'Job % got another output while it was completed.', p_job using errcode = 'OV001', hint = 'Upload it, then complete.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.complete(p_job uuid, p_claim bigint, p_token uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.complete_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_held integer[];
  v_ids uuid[];
  v_open uuid;
begin
  v_held := ourvidz.lock_claims(p_jobs, p_claims, p_tokens);
  select array_agg(p_jobs[n]) into v_ids from unnest(v_held) as n;
  select job_id into v_open from public.artifacts where job_id = any (v_ids) and uploaded_at is null limit 1;
  if found then
    raise exception 'Job % has an output that is not uploaded yet.', v_open using errcode = 'OV001', hint = 'Upload it, then complete.';
  end if;
  perform ourvidz.append(v_ids, 'completed',
    (select array_agg(jsonb_build_object('artifacts', (select count(*) from public.artifacts where job_id = id)) order by n)
     from unnest(v_ids) with ordinality as done (id, n)),
    'executor');
  return query select unnest(v_ids);
end
$$;

ALTER FUNCTION ourvidz.complete_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.complete_settings(p_kind ourvidz.job_types, p_asked jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select jsonb_strip_nulls(
    case when refers.style then '{"reference_type": "style"}'::jsonb else '{}' end
    -- 1.0 is VACE's default and right for an approved first frame; with IP-Adapter it would override the prompt.
    || case when refers.any then jsonb_build_object('reference_strength', case p_kind.family when 'wan' then 1.0 else 0.7 end) else '{}' end
    || p_kind.defaults || asked.settings)
    - case when refers.style or p_kind.family = 'wan' then '{}'::text[] else '{reference_type}' end
    - case when refers.any then '{}'::text[] else '{reference_strength}' end
  from (select coalesce(jsonb_strip_nulls(p_asked), '{}') as settings) as asked
  cross join lateral (
    select case jsonb_typeof(asked.settings->'references') when 'object' then asked.settings->'references' else '{}' end as slots
  ) as given
  cross join lateral (select given.slots ? 'style' as style, given.slots - 'init' <> '{}' as any) as refers
$$;

ALTER FUNCTION ourvidz.complete_settings(p_kind ourvidz.job_types, p_asked jsonb) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.takedowns (
    subject text NOT NULL,
    user_id uuid NOT NULL,
    job_id uuid,
    kind text NOT NULL,
    index smallint DEFAULT 0 NOT NULL,
    row_id uuid,
    state text DEFAULT 'reported'::text NOT NULL,
    reviewed boolean DEFAULT false NOT NULL,
    cause text,
    since timestamp with time zone NOT NULL,
    CONSTRAINT takedowns_cause_check CHECK ((cause ~ '^[a-z_]{1,40}$'::text)),
    CONSTRAINT takedowns_kind_check CHECK ((kind = ANY (ARRAY['image'::text, 'video'::text]))),
    CONSTRAINT takedowns_state_check CHECK ((state = ANY (ARRAY['reported'::text, 'hidden'::text, 'restored'::text, 'blocked'::text]))),
    CONSTRAINT takedowns_subject_check CHECK ((subject ~ '^(output:[0-9a-f-]{36}:(image|video):[0-9]{1,3}|(image|video):[0-9a-f-]{36})$'::text))
);

ALTER TABLE ourvidz.takedowns OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.takedowns.reviewed IS 'A person has decided: no report hides it by itself again.';

CREATE FUNCTION ourvidz.copies_of(p_row ourvidz.takedowns, p_sha256 text[], p_pdq text[]) RETURNS SETOF ourvidz.takedowns
    LANGUAGE sql STABLE
    AS $$
  select o.* from public.artifacts as a cross join lateral ourvidz.output_subject(a) as o
  where a.kind in ('image', 'video') and a.deleted_at is null and not a.taken_down
    and (a.job_id, a.kind, a.index) is distinct from (p_row.job_id, p_row.kind, p_row.index)
    and (a.sha256 = any (p_sha256)
         or exists (select from unnest(a.pdq) as h, unnest(p_pdq) as b
                    where bit_count(h # ourvidz.pdq_of(b)) <= (select pdq_distance from ourvidz.policy)))
$$;

ALTER FUNCTION ourvidz.copies_of(p_row ourvidz.takedowns, p_sha256 text[], p_pdq text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.count_claims(p_claims integer) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  if p_claims = 0 or ourvidz.operates() then
    return;
  end if;
  insert into ourvidz.logins as l (name, minute, claims) values (session_user, v_now, p_claims)
  on conflict (name) do update
    set minute = case when l.minute > v_now - interval '1 minute' then l.minute else v_now end,
        claims = p_claims + case when l.minute > v_now - interval '1 minute' then l.claims else 0 end
    where p_claims + case when l.minute > v_now - interval '1 minute' then l.claims else 0 end <= (select claims_per_minute from ourvidz.policy);
  if not found then
    perform ourvidz.claims_left();
    raise exception 'Login % may not be given % more prompts in this minute.', session_user, p_claims
      using errcode = 'OV016', hint = 'Ask for fewer, or try again in a minute.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.count_claims(p_claims integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.count_rows() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_table constant text := format('%I.%I', tg_table_schema, tg_table_name);
  v_condition constant text := coalesce(tg_argv[0], 'true');
  v_sum constant text := 'select %I as owner, %s as rows, %s * pg_column_size(to_jsonb(c)) as bytes from %s as c where ' || v_condition;
  b ourvidz.row_bounds;
  v_change record;
  c ourvidz.row_counts;
begin
  select * into b from ourvidz.row_bounds where name = tg_table_name;
  for v_change in
    execute 'select owner, sum(rows)::bigint as rows, sum(bytes)::bigint as bytes from ('
            || case tg_op when 'INSERT' then format(v_sum, b.owner, 1, 1, 'changed') when 'DELETE' then format(v_sum, b.owner, -1, -1, 'changed')
                    else format(v_sum, b.owner, 0, 1, 'changed') || ' union all ' || format(v_sum, b.owner, 0, -1, 'gone') end
            || ') as each where owner is not null group by owner order by owner'
  loop
    update ourvidz.row_counts as k set rows = greatest(k.rows + v_change.rows, 0), bytes = greatest(k.bytes + v_change.bytes, 0)
    where k.name = b.name and k.owner = v_change.owner returning * into c;
    if not found then
      execute format('select $1, $2, count(*), coalesce(sum(bytes), 0) from ('
                     'select pg_column_size(t.*) as bytes from %s as t where %I = $2 and %s limit $3) as theirs', v_table, b.owner, v_condition)
      into c using b.name, v_change.owner, b.rows + 1;
      insert into ourvidz.row_counts as k (name, owner, rows, bytes)
      values (c.name, c.owner, c.rows, greatest(c.bytes, v_change.bytes))  -- values stored out of line count as little there
      on conflict (name, owner) do update
        set rows = greatest(k.rows + v_change.rows, 0), bytes = greatest(k.bytes + v_change.bytes, 0) returning * into c;
    end if;
    if tg_op = 'DELETE' then
      delete from ourvidz.row_counts where name = b.name and owner = v_change.owner and rows = 0;
    elsif b.over = 'oldest' and c.rows > b.rows then
      execute format('delete from %1$s where ctid = any (array(select ctid from %1$s where %2$I = $1 and %3$s order by %4$I limit $2))',
                     v_table, b.owner, v_condition, tg_argv[1]) using v_change.owner, c.rows - b.rows;
      update ourvidz.row_counts as k set rows = b.rows where k.name = b.name and k.owner = v_change.owner;
    elsif b.over = 'refuse' and (c.rows > b.rows or c.bytes > b.bytes) and pg_trigger_depth() = 1 then
      perform ourvidz.rpc('too_many_rows', jsonb_build_object('table', b.name, 'rows', b.rows, 'bytes', b.bytes));
    end if;
  end loop;
  return null;
end
$_$;

ALTER FUNCTION ourvidz.count_rows() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.declare_gone(p_executor uuid, p_cause text) RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
  v_on_device uuid[];
  v_jobs bigint := 0;
begin
  update ourvidz.executors set state = 'gone', waiting = false where id = p_executor;
  -- In id order, as in lock_claims: no deadlock with a batch. Locked before asking which job was on the device.
  perform from public.jobs where executor_id = p_executor order by id for update;
  perform ourvidz.lock_profiles(array(select user_id from public.jobs where executor_id = p_executor));
  v_on_device := ourvidz.on_device(p_executor);
  for j in select * from public.jobs where executor_id = p_executor order by id for update loop
    perform ourvidz.expire_claim(j, p_cause, j.id = any (v_on_device), cardinality(v_on_device) > 0);
    v_jobs := v_jobs + 1;
  end loop;
  return v_jobs;
end
$$;

ALTER FUNCTION ourvidz.declare_gone(p_executor uuid, p_cause text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.delivered(p_job uuid) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$ select count(*) from public.artifacts where job_id = p_job and kind <> 'thumbnail' and uploaded_at is not null $$;

ALTER FUNCTION ourvidz.delivered(p_job uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.descendants(p_user uuid, p_sha256 text) RETURNS TABLE(user_id uuid, job_id uuid, kind text, index smallint, bucket text, path text, sha256 text, why text)
    LANGUAGE sql STABLE
    AS $$
  with recursive shown (job_id) as (
    select r.job_id from ourvidz.job_references as r join public.jobs as j on j.id = r.job_id
    where r.sha256 = p_sha256 and (p_user is null or j.user_id = p_user)
    union
    select r.job_id from shown join public.artifacts as a on a.job_id = shown.job_id join ourvidz.job_references as r on r.sha256 = a.sha256
  )
  select j.user_id, a.job_id, a.kind, a.index, a.bucket, a.path, a.sha256, ourvidz.why_no_consent(j.user_id, a.sha256)
  from (select shown.job_id from shown limit 1000) as first
  join public.jobs as j on j.id = first.job_id
  join public.artifacts as a on a.job_id = first.job_id
  order by j.created_at, a.job_id, a.kind, a.index
$$;

ALTER FUNCTION ourvidz.descendants(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.drain(p_executor uuid, p_done boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.check_executor(p_executor);
  if p_done and exists (select from public.jobs where executor_id = p_executor) then
    perform ourvidz.declare_gone(p_executor, 'left');
  else
    update ourvidz.executors set state = case when p_done then 'gone' else 'draining' end, waiting = false where id = p_executor;
  end if;
end
$$;

ALTER FUNCTION ourvidz.drain(p_executor uuid, p_done boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.drop_erased_text() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if exists (select from public.profiles where id = new.user_id and erased_at is not null) then
    new.metadata := null;
    new.error_message := null;
  end if;
  return new;
end
$$;

ALTER FUNCTION ourvidz.drop_erased_text() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.drop_storage_leaks() RETURNS TABLE(policy name, relation regclass, lets text[], buckets text[], remedy text, dropped boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  for policy, relation, lets, buckets, remedy in select l.* from ourvidz.storage_leaks((select jsonb_agg(to_jsonb(b)) from ourvidz.buckets as b)) as l
  loop
    begin
      execute remedy;
      dropped := true;
      raise notice 'policy "%" on % is dropped: it lets % in %', policy, relation, array_to_string(lets, ', '), array_to_string(buckets, ', ');
    exception when insufficient_privilege then
      dropped := false;
      raise notice 'policy "%" on % lets % in %, and is not ours to drop. Run: %', policy, relation, array_to_string(lets, ', '),
        array_to_string(buckets, ', '), remedy;
    end;
    return next;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.drop_storage_leaks() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.end_message(j public.jobs, p_type text, p_data jsonb) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case p_type when 'cancelled' then 'cancelled'
                     when 'failed' then coalesce((select error_message from public.job_payloads where job_id = j.id), p_data->>'class') end
$$;

ALTER FUNCTION ourvidz.end_message(j public.jobs, p_type text, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.end_metadata(j public.jobs, p_type text) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select case when p_type <> 'completed' then j.metadata - '{primary_asset,all_assets,generation_time}'::text[]
              else j.metadata || jsonb_strip_nulls(jsonb_build_object(
                'seed', (select settings->'seed' from public.job_payloads where job_id = j.id),
                'generation_time', ourvidz.generation_seconds(j.id, j.version + 1), 'num_images', count(*),
                'primary_asset', (array_agg(a.path order by a.index))[1], 'all_assets', coalesce(jsonb_agg(a.path order by a.index), '[]'))) end
  from public.artifacts as a
  where a.job_id = j.id and a.kind <> 'thumbnail' and a.uploaded_at is not null and a.deleted_at is null
$$;

ALTER FUNCTION ourvidz.end_metadata(j public.jobs, p_type text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.ended_in_this_system(p_job uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from public.job_events where job_id = p_job and type in ('completed', 'failed', 'cancelled'))
$$;

ALTER FUNCTION ourvidz.ended_in_this_system(p_job uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhance_expire() RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  delete from ourvidz.enhancement_requests where id = any (array(  -- as in promote
    select id from ourvidz.enhancement_requests where asked_at <= (select ourvidz.now() - interval '5 minutes') limit 1000 for update skip locked));
  delete from ourvidz.enhancers where beat_at <= (select ourvidz.now() - interval '1 day')
$$;

ALTER FUNCTION ourvidz.enhance_expire() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhance_patience() RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select interval '20 s' $$;

ALTER FUNCTION ourvidz.enhance_patience() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhanced(p_job uuid, p_claim bigint, p_token uuid, p_text text, p_seconds double precision, p_tokens integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_digest text;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  if (select enhanced from public.jobs where id = p_job) then
    return;  -- a repeated call, after the answer to the first was lost
  end if;
  update public.job_payloads set enhanced_prompt = p_text where job_id = p_job
  returning encode(sha256(salt || convert_to(p_text, 'UTF8')), 'hex') into v_digest;
  perform ourvidz.append(array[p_job], 'prompt_enhanced',
    array[jsonb_build_object('seconds', round(p_seconds::numeric, 3), 'tokens', p_tokens, 'digest', v_digest)], 'executor');
end
$$;

ALTER FUNCTION ourvidz.enhanced(p_job uuid, p_claim bigint, p_token uuid, p_text text, p_seconds double precision, p_tokens integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhancement_claim(p_name text) RETURNS TABLE(id uuid, claim_no integer, style text, prompt text, seconds_left double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
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

ALTER FUNCTION ourvidz.enhancement_claim(p_name text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhancement_finish(p_id uuid, p_claim integer, p_answer jsonb) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  update ourvidz.enhancement_requests
  set enhanced = p_answer->>'text', failed = p_answer->>'failed', figures = coalesce(p_answer->'figures', '{}'), lease_until = null
  where id = p_id and claim_no = p_claim and enhanced is null and failed is null and ourvidz.may_run(user_id);
  return found;
end
$$;

ALTER FUNCTION ourvidz.enhancement_finish(p_id uuid, p_claim integer, p_answer jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhancement_heartbeat(p_name text, p_id uuid, p_claim integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.enhancer_beat(p_name, waiting => false);
  update ourvidz.enhancement_requests set lease_until = ourvidz.now() + interval '6 s'
  where id = p_id and claim_no = p_claim and enhanced is null and failed is null and ourvidz.may_run(user_id);
  return found;
end
$$;

ALTER FUNCTION ourvidz.enhancement_heartbeat(p_name text, p_id uuid, p_claim integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.enhancer_beat(p_name text, waiting boolean) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  insert into ourvidz.enhancers as e (name, beat_at, waiting) values (p_name, ourvidz.now(), enhancer_beat.waiting)
  on conflict (name) do update set beat_at = excluded.beat_at, waiting = excluded.waiting
  where excluded.waiting <> e.waiting or e.beat_at < excluded.beat_at - interval '5 s'  -- polling each second must not write each second
$$;

ALTER FUNCTION ourvidz.enhancer_beat(p_name text, waiting boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.entry(p_user uuid, p_lane text) RETURNS double precision
    LANGUAGE sql STABLE
    AS $$
  select greatest(ourvidz.virtual_time(p_lane), (select finish from ourvidz.shares where user_id = p_user and lane = p_lane))
$$;

ALTER FUNCTION ourvidz.entry(p_user uuid, p_lane text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erase_add_counts(p_user uuid, p_counts jsonb) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.erase_lock(p_user);
  update ourvidz.erasures as e
  set counts = (select coalesce(jsonb_object_agg(key, n), '{}')
                from (select key, sum(value::bigint) as n
                      from (select * from jsonb_each_text(e.counts) union all select * from jsonb_each_text(p_counts)) as either
                      group by key) as summed)
  where user_id = p_user and finished_at is null;
end
$$;

ALTER FUNCTION ourvidz.erase_add_counts(p_user uuid, p_counts jsonb) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.erasures (
    id bigint NOT NULL,
    user_id uuid NOT NULL,
    reason text,
    asked_by text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    counts jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT erasures_reason_check CHECK ((length(reason) <= 500))
);

ALTER TABLE ourvidz.erasures OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erase_begin(p_user uuid, p_reason text, p_by text) RETURNS ourvidz.erasures
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  e ourvidz.erasures;
begin
  perform ourvidz.erase_lock(p_user);
  update public.profiles set age_verified = false, erased_at = coalesce(erased_at, ourvidz.now()) where id = p_user;
  insert into ourvidz.erasures (user_id, reason, asked_by, started_at) values (p_user, p_reason, p_by, ourvidz.now())
  on conflict (user_id) where finished_at is null do nothing;
  select * into e from ourvidz.erasures where user_id = p_user and finished_at is null;
  return e;
end
$$;

ALTER FUNCTION ourvidz.erase_begin(p_user uuid, p_reason text, p_by text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erase_finish(p_user uuid) RETURNS ourvidz.erasures
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  e ourvidz.erasures;
begin
  perform ourvidz.erase_lock(p_user);
  update ourvidz.erasures set finished_at = greatest(ourvidz.now(), started_at)
  where user_id = p_user and finished_at is null;
  -- A concurrent run may have finished it.
  select * into e from ourvidz.erasures where user_id = p_user order by id desc limit 1;
  return e;
end
$$;

ALTER FUNCTION ourvidz.erase_finish(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erase_lock(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.profile_lock(p_user);
  if exists (select from ourvidz.legal_holds where user_id = p_user and lifted_at is null) then
    raise exception 'A legal hold stands on user %: nothing of theirs is erased.', p_user
      using errcode = 'OV020', hint = '`ourvidz hold ls` says since when and why; `ourvidz hold lift` lifts it.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.erase_lock(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erase_rows(p_user uuid) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  r ourvidz.erasure_rules;
  v_rows bigint;
  v_counts jsonb := '{}';
begin
  for r in select * from ourvidz.erasure_rules where to_regclass(relation) is not null order by n loop
    if r.blank is null then
      execute format('delete from %s where %s', r.relation, r.whose) using p_user;
    else
      execute format('update %s set %s where (%s) and (%s) is not true', r.relation,
                     (select string_agg(format('%I = %s', key, value), ', ') from jsonb_each_text(r.blank)), r.whose, r.unless) using p_user;
    end if;
    get diagnostics v_rows = row_count;
    v_counts := v_counts || jsonb_build_object(r.kind, v_rows + coalesce((v_counts->>r.kind)::bigint, 0));
  end loop;
  return v_counts;
end
$$;

ALTER FUNCTION ourvidz.erase_rows(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erase_user_data(p_user uuid, p_try boolean DEFAULT false) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_counts jsonb;
begin
  perform ourvidz.erase_lock(p_user);
  if not p_try and exists (select from public.jobs where user_id = p_user and completed_at is null) then
    raise exception 'User % has unfinished jobs: their words are still needed.', p_user using errcode = 'OV001', hint = 'Cancel them first.';
  end if;
  begin
    v_counts := ourvidz.erase_rows(p_user);
    if p_try then
      raise exception using errcode = 'OV000';
    end if;
    perform ourvidz.erase_add_counts(p_user, v_counts);
  exception when sqlstate 'OV000' then
    null;  -- rolled back, except for v_counts
  end;
  return v_counts;
end
$$;

ALTER FUNCTION ourvidz.erase_user_data(p_user uuid, p_try boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.erasure_unhandled_rows(p_user uuid) RETURNS TABLE(relation text, by_column text, rows bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
begin
  for relation, by_column in
    select distinct format('%I.%I', n.nspname, c.relname), a.attname::text
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
    where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'ourvidz', 'auth', 'storage', 'realtime', 'vault')
      and not exists (select from ourvidz.erasure_rules as r where to_regclass(r.relation) = c.oid)
      and not (n.nspname = 'public' and c.relname = any (ourvidz.our_relations())) and a.atttypid in ('uuid'::regtype, 'text'::regtype)
      and (a.attname in ('user_id', 'owner_id', 'profile_id', 'author_id', 'created_by', 'uid')
           or exists (select from pg_constraint as k where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum]
                      and k.confrelid in ('public.profiles'::regclass, 'auth.users'::regclass)))
    order by 1, 2
  loop
    begin
      execute format('select count(*) from %s where %I::text = $1::text', relation, by_column) into rows using p_user;
    exception when insufficient_privilege then
      rows := null;  -- this login may not read it
    end;
    if rows is distinct from 0 then
      return next;
    end if;
  end loop;
end
$_$;

ALTER FUNCTION ourvidz.erasure_unhandled_rows(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.event_columns(j public.jobs) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ select to_jsonb(j) - array_remove(ourvidz.other_columns(), 'ready') $$;

ALTER FUNCTION ourvidz.event_columns(j public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.event_hash(prev_hash bytea, job_id uuid, version integer, type text, from_status text, to_status text, claim_no bigint, actor text, occurred_at timestamp with time zone, data jsonb) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select sha256(prev_hash || convert_to(
    '1' || e'\x1f' || job_id::text || e'\x1f' || version::text || e'\x1f' || type
    || e'\x1f' || coalesce(from_status, '') || e'\x1f' || to_status || e'\x1f' || coalesce(claim_no::text, '')
    || e'\x1f' || actor || e'\x1f' || (extract(epoch from occurred_at) * 1000000)::bigint::text
    || e'\x1f' || data::text, 'UTF8'))
$$;

ALTER FUNCTION ourvidz.event_hash(prev_hash bytea, job_id uuid, version integer, type text, from_status text, to_status text, claim_no bigint, actor text, occurred_at timestamp with time zone, data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.events_apply() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_fresh bigint;
  v_births bigint;
  v_followed boolean;
  v_started boolean;
  v_live boolean;
  v_works boolean;
  v_ended uuid[];
  v_applied bigint := 0;
  v_rows bigint;
begin
  if ourvidz.is_copy() then
    perform ourvidz.refuse_events_out_of_order();
  end if;
  select count(*), count(*) filter (where from_status is null),
         bool_or(type in ('submitted', 'imported', 'retried', 'rerouted', 'completed', 'failed', 'cancelled', 'linked')),
         bool_or(from_status = 'queued' and to_status in ('enhancing', 'generating')),
         bool_or(from_status is distinct from to_status or type in ('artifact_generated', 'artifact_uploaded', 'cancel_requested', 'linked')),
         bool_or(type = any (ourvidz.events_needing_permission())),
         array_agg(job_id) filter (where type in ('completed', 'failed', 'cancelled'))
  into v_fresh, v_births, v_followed, v_started, v_live, v_works, v_ended from fresh;
  if exists (select from fresh as e where ourvidz.invalid_keys(e.type, e.data) <> '{}') then
    perform ourvidz.refuse_event(e.job_id, e.version, e.type, e.from_status, e.to_status, e.claim_no, e.data)
    from fresh as e where ourvidz.invalid_keys(e.type, e.data) <> '{}';
  end if;
  if v_births > 0 then
    -- A plain INSERT (jobs_ask) brings its row before the event: it must be exactly the row that the event creates.
    if pg_trigger_depth() > 1 then
      select count(*) into v_applied
      from fresh as e cross join lateral ourvidz.initial_job(e, v_now) as b join public.jobs as j on j.id = b.id
      where ourvidz.event_columns(j) = ourvidz.event_columns(b);
    end if;
    insert into public.jobs
    select b.* from fresh as e cross join lateral ourvidz.initial_job(e, v_now) as b
    where pg_trigger_depth() = 1 or (select id from public.jobs where id = e.job_id) is null;
    get diagnostics v_rows = row_count;
    v_applied := v_applied + v_rows;
  end if;
  if v_ended is not null then
    perform ourvidz.artifacts_removed(v_ended);
  end if;
  if v_births < v_fresh then
    update public.jobs as target
    set status = n.status, version = n.version, head_hash = n.head_hash, job_type = n.job_type, lane = n.lane,
        video_id = n.video_id, image_id = n.image_id, hidden = n.hidden,
        priority = n.priority, rank = n.rank, ready = n.ready, run_at = n.run_at,
        claim_no = n.claim_no, executor_id = n.executor_id, claimed_at = n.claimed_at, deadline = n.deadline,
        attempts = n.attempts, errors = n.errors, crashes = n.crashes, device_crashes = n.device_crashes,
        crashed_on = n.crashed_on, snoozes = n.snoozes, cancel_requested = n.cancel_requested,
        error_class = n.error_class, final = n.final, enhanced = n.enhanced, generated = n.generated,
        uploaded = n.uploaded, updated_at = n.updated_at, completed_at = n.completed_at, metadata = n.end_metadata, error_message = n.end_message
    from (
      select evolved.*,
             case when it.turns then ourvidz.end_metadata(j, e.type) else j.metadata end as end_metadata,
             case when it.turns then ourvidz.end_message(j, e.type, e.data) else j.error_message end as end_message
      from fresh as e
      join public.jobs as j on j.id = any (array[e.job_id])  -- by its key (docs/decisions/0052, rule 9)
      join ourvidz.transitions as t on t.event = e.type and t.source = e.from_status and t.target = e.to_status
        cross join lateral ourvidz.evolve(j, e) as evolved
        -- Only a front end's job has metadata of its own.
        cross join lateral (select e.type in ('completed', 'failed', 'cancelled', 'retried') and j.metadata <> '{}' as turns) as it
      where e.version = j.version + 1 and e.prev_hash = j.head_hash and e.from_status = j.status
        and e.submitted_on = j.submitted_on
        and (t.before = 'any' or (t.before = 'held') = (j.executor_id is not null))
        and e.claim_no is not distinct from
              case when e.type = 'claimed' then j.claim_no + 1 when j.executor_id is not null then j.claim_no end
        and not (e.type = 'retried' and (j.final or j.hidden))
        and (e.type not in ('linked', 'removed') or ourvidz.may_change_library(j, e.type, e.data))
        and (e.type <> 'rerouted' or ourvidz.may_reroute(j.job_type, e.data))
        and e.occurred_at between j.updated_at and greatest(v_now, j.updated_at)
        and e.data - t.keys = '{}'
        and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,
                                        e.claim_no, e.actor, e.occurred_at, e.data)
    ) as n
    where target.id = any (array[n.id]);
    get diagnostics v_rows = row_count;
    v_applied := v_applied + v_rows;
  end if;
  if v_applied <> v_fresh then
    perform ourvidz.refuse_event(e.job_id, e.version, e.type, e.from_status, e.to_status, e.claim_no, e.data)
    from fresh as e left join public.jobs as j on j.id = e.job_id
    where j.id is null or j.head_hash <> e.hash;
    raise exception 'Two events of one job came in one statement; write them one after the other.' using errcode = 'OV005';
  end if;
  if v_followed then
    perform ourvidz.run_projections((select array_agg(row(e.*)::public.job_events) from fresh as e));
  elsif v_started and exists (select from ourvidz.receivers where enabled and 'processing' = any (events)) then
    perform ourvidz.outbox_follow((select array_agg(row(e.*)::public.job_events) from fresh as e));
  end if;
  -- After the hold, which waits for the profile's lock: changes made meanwhile are seen here (ourvidz.may_run).
  if v_works then
    perform ourvidz.refuse_unverified(user_id)
    from (select distinct j.user_id from fresh as e cross join lateral (select user_id from public.jobs where id = e.job_id limit 1) as j
          where e.type = any (ourvidz.events_needing_permission())) as worked_for
    where not ourvidz.may_run(user_id);
  end if;
  if v_live and exists (select from pg_proc where proname = 'send' and pronamespace = (select oid from pg_namespace where nspname = 'realtime')) then
    perform ourvidz.live_follow((select array_agg(row(e.*)::public.job_events) from fresh as e));
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.events_apply() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.events_needing_permission() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select '{submitted,retried,rerouted,enhancement_started,prompt_enhanced,generation_started,artifact_generated,upload_started,artifact_uploaded,
           completed}'::text[]
$$;

ALTER FUNCTION ourvidz.events_needing_permission() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.evolve(j public.jobs, e public.job_events) RETURNS SETOF public.jobs
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select
    e.job_id,
    e.to_status,
    e.version,
    e.hash,
    e.submitted_on,
    case when it.begins then (e.data->>'user_id')::uuid else j.user_id end,
    case when it.begins or it.reroutes then e.data->>'job_type' else j.job_type end,
    case when it.begins or it.reroutes then e.data->>'lane' else j.lane end,
    case when it.begins then (e.data->>'project_id')::uuid else j.project_id end,
    case when it.begins then (e.data->>'video_id')::uuid
         when it.links then coalesce((e.data->>'video_id')::uuid, j.video_id)
         when it.removes then nullif(j.video_id, (e.data->>'video_id')::uuid) else j.video_id end,
    case when it.begins then (e.data->>'image_id')::uuid
         when it.links then coalesce((e.data->>'image_id')::uuid, j.image_id)
         when it.removes then nullif(j.image_id, (e.data->>'image_id')::uuid) else j.image_id end,
    case when it.begins then coalesce((e.data->>'priority')::smallint, 0::smallint)
         when it.reprioritises then (e.data->>'priority')::smallint else j.priority end,
    case when it.begins then coalesce((e.data->>'rank')::float8, 0)
         when it.retries or it.reroutes or it.reprioritises then (e.data->>'rank')::float8 else j.rank end,
    -- ready: whether it may be claimed now. The next column is run_at.
    case when not it.queues or it.claims or (j.executor_id is not null and it.run_at is null) then null
         when it.run_at is not null then it.run_at <= e.occurred_at
         -- A job imported without a run_at waits for its user's age verification.
         else coalesce(j.ready, not it.imports) end,
    case when it.claims or it.ends then null else coalesce(it.run_at, j.run_at) end,
    case when it.claims then e.claim_no else coalesce(j.claim_no, 0) end,
    case when it.claims then (e.data->>'executor_id')::uuid when it.releases then null else j.executor_id end,
    case when it.claims then e.occurred_at when it.releases then null else j.claimed_at end,
    case when it.claims then (e.data->>'deadline')::timestamptz when it.releases then null else j.deadline end,
    case when it.claims then j.attempts + 1 when it.snoozes then j.attempts - 1
         when it.retries then 0 else coalesce(j.attempts, 0) end,
    case when it.errs then j.errors + 1 when it.retries then 0 else coalesce(j.errors, 0) end,
    case when it.lapses then j.crashes + 1 when it.retries then 0 else coalesce(j.crashes, 0) end,
    case when it.lapses then j.device_crashes + (e.data->>'on_device')::boolean::integer
         when it.retries then 0 else coalesce(j.device_crashes, 0) end,
    case when it.lapses and (e.data->>'on_device')::boolean then e.data->>'executor'
         when it.retries then null else j.crashed_on end,
    case when it.snoozes then j.snoozes + 1 when it.retries then 0 else coalesce(j.snoozes, 0) end,
    case e.type when 'cancel_requested' then true when 'retried' then false else coalesce(j.cancel_requested, false) end,
    case when it.errs or it.fails then e.data->>'class' when it.imports then e.data->>'error_class'
         when it.retries then null else j.error_class end,
    coalesce(case when it.fails or it.imports then (e.data->>'final')::boolean else j.final end, false),
    e.type = 'prompt_enhanced' or coalesce(j.enhanced, false),
    case e.type when 'generation_started' then 0 when 'artifact_generated' then j.generated + 1 else coalesce(j.generated, 0) end,
    case e.type when 'artifact_uploaded' then j.uploaded + 1 else coalesce(j.uploaded, 0) end,
    case when it.begins then e.occurred_at else j.created_at end,
    e.occurred_at,
    case when it.imports then (e.data->>'completed_at')::timestamptz when it.ends then e.occurred_at
         when it.retries then null else j.completed_at end,
    j.format, j.quality, j.model_type, j.worker_type, j.metadata, j.error_message,  -- the legacy system's: no event carries them
    it.removes and coalesce(e.data->>'what' = 'job', false) or coalesce(j.hidden, false)
  from (
    select e.from_status is null as begins,
           e.type = 'imported' as imports,
           e.type = 'claimed' as claims,
           e.type = 'retry_scheduled' as errs,
           e.type = 'lease_expired' as lapses,
           e.type = 'snoozed' as snoozes,
           e.type = 'failed' as fails,
           e.type = 'retried' as retries,
           e.type = 'rerouted' as reroutes,
           e.type = 'reprioritised' as reprioritises,
           e.type = 'linked' as links,
           e.type = 'removed' as removes,
           e.type in ('retry_scheduled', 'lease_expired', 'snoozed', 'completed', 'failed', 'cancelled') as releases,
           e.to_status = 'queued' as queues,
           e.type in ('completed', 'failed', 'cancelled') as ends,
           (e.data->>'run_at')::timestamptz as run_at
    offset 0  -- computed once per event, not once per column
  ) as it
$$;

ALTER FUNCTION ourvidz.evolve(j public.jobs, e public.job_events) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.evolve_step(j public.jobs, e public.job_events) RETURNS public.jobs
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ select evolved from ourvidz.evolve(j, e) as evolved $$;

ALTER FUNCTION ourvidz.evolve_step(j public.jobs, e public.job_events) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.executor_gone(p_executor uuid, p_cause text DEFAULT 'died'::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.check_executor(p_executor);
  return ourvidz.declare_gone(p_executor, p_cause);
end
$$;

ALTER FUNCTION ourvidz.executor_gone(p_executor uuid, p_cause text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.expire_claim(j public.jobs, p_cause text, p_on_device boolean, p_blamed boolean) RETURNS text
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_policy ourvidz.policy;
  v_crashes constant integer := j.crashes + 1;
  v_executor text := coalesce((select called from ourvidz.executors where id = j.executor_id), 'unknown');
begin
  select * into v_policy from ourvidz.policy;
  if j.cancel_requested then
    perform ourvidz.append(array[j.id], 'cancelled', array['{}'::jsonb], 'reaper');
    return 'cancelled';
  elsif j.device_crashes + p_on_device::integer >= v_policy.crash_limit or v_crashes >= v_policy.lapse_limit then
    update public.job_payloads set error_message = format('The executor was lost %s times while it had this job.', v_crashes)
    where job_id = j.id;
    perform ourvidz.append(array[j.id], 'failed', array['{"class": "quarantined"}'::jsonb], 'reaper');
    return 'failed';
  end if;
  perform ourvidz.append(array[j.id], 'lease_expired', array[jsonb_build_object(
    'executor', v_executor, 'on_device', p_on_device, 'cause', p_cause,
    'run_at', ourvidz.utc_text(ourvidz.now() + case when v_crashes = 1 or p_blamed and not p_on_device then interval '0'
                                                   else ourvidz.backoff(v_crashes - 1, j.job_type) end))], 'reaper');
  perform ourvidz.wake(j.lane, 1);
  return 'lease_expired';
end
$$;

ALTER FUNCTION ourvidz.expire_claim(j public.jobs, p_cause text, p_on_device boolean, p_blamed boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.fail(p_job uuid, p_claim bigint, p_token uuid, p_class text, p_message text, p_retryable boolean DEFAULT true, p_final boolean DEFAULT false, p_verdict jsonb DEFAULT '{}'::jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  perform ourvidz.check_word(p_class, 'class');
  if not ourvidz.matches_kind(to_jsonb(p_class), (select kinds->'class' from ourvidz.event_types where name = 'failed')) then
    p_message := p_class || ': ' || p_message;  -- a third-party executor's class: kept where people read it
    p_class := 'unexpected';
  end if;
  select * into j from public.jobs where id = p_job;
  update public.job_payloads set error_message = left(p_message, 2000) where job_id = p_job;
  if p_verdict <> '{}' then
    -- A refusal is recorded with the salted hash of the text or of a picture's sha256, never with the text or the picture.
    select p_verdict - 'sha256' || jsonb_build_object('digest', encode(sha256(salt || coalesce(
      decode(p_verdict ->> 'sha256', 'hex'), convert_to(coalesce(enhanced_prompt, prompt), 'UTF8'))), 'hex'))
    into p_verdict from public.job_payloads where job_id = p_job;
    p_verdict := ourvidz.verdict(p_verdict);
  end if;
  return ourvidz.fail_attempt(j, p_class, p_retryable and not p_final, 'executor',
                              p_verdict || case when p_final then '{"final": true}'::jsonb else '{}' end);
end
$$;

ALTER FUNCTION ourvidz.fail(p_job uuid, p_claim bigint, p_token uuid, p_class text, p_message text, p_retryable boolean, p_final boolean, p_verdict jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.fail_attempt(j public.jobs, p_class text, p_retryable boolean, p_actor text, p_more jsonb DEFAULT '{}'::jsonb) RETURNS text
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_at constant timestamptz := ourvidz.now();
  v_event text;
  v_data jsonb;
begin
  if j.cancel_requested and not coalesce((p_more->>'final')::boolean, false) then
    v_event := 'cancelled';
    v_data := '{}';
  elsif p_retryable and j.errors + 1 < (select max_attempts from ourvidz.policy) then
    v_event := 'retry_scheduled';
    v_data := jsonb_build_object('class', p_class, 'run_at', ourvidz.utc_text(v_at + ourvidz.backoff(j.errors + 1, j.job_type)));
  else
    v_event := 'failed';
    v_data := jsonb_build_object('class', p_class) || p_more;
  end if;
  perform ourvidz.append(array[j.id], v_event, array[v_data], p_actor);
  return v_event;
end
$$;

ALTER FUNCTION ourvidz.fail_attempt(j public.jobs, p_class text, p_retryable boolean, p_actor text, p_more jsonb) OWNER TO ourvidz_owner;

CREATE TABLE public.videos (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid,
    user_id uuid NOT NULL,
    scene_number integer,
    title text,
    preview_url text,
    video_url text,
    thumbnail_url text,
    status text DEFAULT 'draft'::text NOT NULL,
    duration double precision,
    resolution text,
    format text DEFAULT 'mp4'::text,
    completed_at timestamp with time zone,
    expires_at timestamp with time zone DEFAULT (now() + '30 days'::interval),
    reference_image_url text,
    error_message text,
    signed_url text,
    signed_url_expires_at timestamp with time zone,
    metadata jsonb,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    preview_job_id uuid,
    video_job_id uuid,
    current_job_id uuid,
    approved_at timestamp with time zone,
    older_status text,
    taken_down boolean DEFAULT false NOT NULL,
    CONSTRAINT videos_status CHECK ((status = ANY ('{draft,queued,processing,previewing,preview_ready,generating,completed,failed,cancelled}'::text[])))
);

ALTER TABLE ONLY public.videos REPLICA IDENTITY FULL;

ALTER TABLE public.videos OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.videos.preview_url IS 'Path of the newest preview''s first picture in the bucket that metadata.preview_bucket names.';

COMMENT ON COLUMN public.videos.video_url IS 'Path of the newest final video in the bucket that metadata.bucket names.';

COMMENT ON COLUMN public.videos.thumbnail_url IS 'Path of the thumbnail of what was made last, in the bucket that metadata.thumbnail_bucket names.';

COMMENT ON COLUMN public.videos.duration IS 'Seconds of the final video.';

COMMENT ON COLUMN public.videos.preview_job_id IS 'The newest image job of this scene: no other job''s events touch preview_url.';

COMMENT ON COLUMN public.videos.video_job_id IS 'The newest video job of this scene: no other job''s events touch video_url.';

COMMENT ON COLUMN public.videos.current_job_id IS 'The one of the two that begun last: its events say the status.';

COMMENT ON COLUMN public.videos.approved_at IS 'When the preview was approved; null again when a new preview begins.';

COMMENT ON COLUMN public.videos.older_status IS 'What the older system called the status, where it used another word.';

CREATE FUNCTION ourvidz.final_of(p_scene public.videos, p_choice jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_kind ourvidz.job_types;
  v_preview public.jobs;
  v_words public.job_payloads;
  v_picture public.artifacts;
  v_asked jsonb;
  v_chosen jsonb;
begin
  select * into v_kind from ourvidz.job_types where name = p_choice->>'job_type';
  if not coalesce(v_kind.video, false) then
    raise exception '"%" makes no video.', left(coalesce(p_choice->>'job_type', '(none)'), 40) using errcode = 'OV009', column = 'job_type';
  end if;
  select * into v_preview from public.jobs where id = p_scene.preview_job_id;
  if v_preview.status is distinct from 'completed' then
    raise exception 'The preview of scene % is %: there is nothing to approve.', p_scene.id, coalesce(v_preview.status, 'not made yet')
      using errcode = 'OV001', hint = 'Queue an image job with this video_id, and wait until it has completed.';
  end if;
  select * into v_words from public.job_payloads where job_id = v_preview.id;
  select * into v_picture from public.artifacts
  where job_id = v_preview.id and kind = 'image' and index = (p_choice->>'index')::integer and uploaded_at is not null;
  if v_picture.path is null or coalesce(v_words.prompt, '') = '' then
    raise exception 'Picture % of the preview of scene % is not there.', p_choice->>'index', p_scene.id
      using errcode = 'OV018', hint = 'Choose another, or make a new preview.';
  end if;
  v_asked := jsonb_build_object(
    'user_id', p_scene.user_id, 'job_type', v_kind.name, 'config', p_choice->'config', 'prompt', v_words.prompt,
    'negative_prompt', v_words.negative_prompt, 'video_id', p_scene.id, 'project_id', coalesce(v_preview.project_id, p_scene.project_id));
  v_chosen := ourvidz.normalise(v_asked, 'rpc')->'chosen';
  if v_chosen->'references' ?| '{single,first_frame}' then
    raise exception 'The final video begins with the approved picture: config may name a last_frame, and no other picture.'
      using errcode = 'OV009', column = 'config';
  end if;
  return v_asked || jsonb_build_object(
    'request', p_choice, 'metadata', jsonb_build_object('approved', p_choice),
    'settings', jsonb_build_object('references', jsonb_build_object('first_frame', v_picture.bucket || '/' || v_picture.path))
      || case when v_chosen ?| '{width,height}' then '{}' else (
      -- The type's size closest in shape to the picture; its usual one for a square.
      select jsonb_build_object('width', side->0, 'height', side->1)
      from jsonb_array_elements(v_kind.limits->'size'->'in') with ordinality as sizes (side, n)
      order by round(abs(ln((side->>0)::numeric / (side->>1)::numeric) - ln(v_picture.width::numeric / v_picture.height)), 6), n limit 1) end);
end
$$;

ALTER FUNCTION ourvidz.final_of(p_scene public.videos, p_choice jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.first_event(a ourvidz.asked_job, p_rank double precision, p_salt bytea, p_at timestamp with time zone, p_actor text) RETURNS SETOF public.job_events
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select null::bigint, null::xid8, (p_at at time zone 'UTC')::date, a.id, 1, 'submitted', null::text, 'queued', null::bigint, p_actor, p_at,
         it.data, it.zero,
         ourvidz.event_hash(it.zero, a.id, 1, 'submitted', null, 'queued', null, p_actor, p_at, it.data)
  from (
    select decode(repeat('00', 32), 'hex') as zero, jsonb_strip_nulls(jsonb_build_object(
             'user_id', a.user_id, 'job_type', a.job_type, 'lane', a.lane, 'priority', a.priority, 'rank', ourvidz.json_number(p_rank),
             'run_at', ourvidz.utc_text(greatest(a.run_at, p_at)), 'project_id', a.project_id, 'video_id', a.video_id, 'image_id', a.image_id,
             'digest', encode(sha256(p_salt || a.body_digest), 'hex'), 'price', ourvidz.price_of(a.job_type, a.settings))) as data
    offset 0  -- computed once
  ) as it
$$;

ALTER FUNCTION ourvidz.first_event(a ourvidz.asked_job, p_rank double precision, p_salt bytea, p_at timestamp with time zone, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.generation_seconds(p_job uuid, p_before integer) RETURNS numeric
    LANGUAGE sql STABLE
    AS $$
  select round(extract(epoch from last.made_at - max(x.occurred_at)), 3)
  from (select max(g.occurred_at) as made_at from public.job_events as g
        where g.job_id = p_job and g.version < p_before and g.type = 'artifact_generated') as last
  join public.job_events as x on x.job_id = p_job and x.type = 'generation_started' and x.occurred_at <= last.made_at
  group by last.made_at
$$;

ALTER FUNCTION ourvidz.generation_seconds(p_job uuid, p_before integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.grant_tokens(p_user uuid, p_amount bigint, p_reason text, p_key text DEFAULT NULL::text, p_actor text DEFAULT NULL::text, OUT balance bigint, OUT created boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  select * into balance, created from ourvidz.issue_tokens('grant', p_user, p_amount, p_reason, p_key, p_actor);
end
$$;

ALTER FUNCTION ourvidz.grant_tokens(p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.heartbeat(p_executor uuid, p_resident text[] DEFAULT NULL::text[], p_lanes text[] DEFAULT NULL::text[], p_info jsonb DEFAULT NULL::jsonb) RETURNS timestamp with time zone
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_until timestamptz;
begin
  perform ourvidz.check_executor(p_executor), ourvidz.check_lanes(p_lanes), ourvidz.check_executor_info(p_lanes || p_resident, p_info);
  update ourvidz.executors as e
  set beat_at = clock.at, lease_until = clock.at + make_interval(secs => policy.lease),
      resident = coalesce(p_resident, e.resident), lanes = coalesce(p_lanes, e.lanes), info = coalesce(p_info, e.info)
  from ourvidz.policy, (select ourvidz.now() as at) as clock
  where e.id = p_executor and e.state <> 'gone'
  returning e.lease_until into v_until;
  if not found then
    raise exception 'Executor % was declared gone, and its jobs went to others.', p_executor
      using errcode = 'OV012', hint = 'Stop what runs, write nothing, and register anew.';
  end if;
  return v_until;
end
$$;

ALTER FUNCTION ourvidz.heartbeat(p_executor uuid, p_resident text[], p_lanes text[], p_info jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.held_down(p_subject text, p_but uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from ourvidz.reports as r join ourvidz.report_rules as rule on rule.name = r.category
                 where r.subject = p_subject and r.id <> p_but
                   and (r.status = 'upheld' or r.closed_at is null and r.valid and rule.hides <> 'never'))
$$;

ALTER FUNCTION ourvidz.held_down(p_subject text, p_but uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.help(p_part text, p_at_page text, p_else text) RETURNS text
    LANGUAGE sql STABLE
    AS $$ select coalesce(p_at_page || ' ' || help_url || '#' || p_part, p_else) from ourvidz.policy $$;

ALTER FUNCTION ourvidz.help(p_part text, p_at_page text, p_else text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.hold_lift(p_user uuid, p_by text) RETURNS boolean
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  update ourvidz.legal_holds set lifted_at = greatest(ourvidz.now(), since), lifted_by = p_by where user_id = p_user and lifted_at is null;
  return found;
end
$$;

ALTER FUNCTION ourvidz.hold_lift(p_user uuid, p_by text) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.legal_holds (
    id bigint NOT NULL,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL,
    since timestamp with time zone NOT NULL,
    lifted_at timestamp with time zone,
    lifted_by text,
    CONSTRAINT legal_holds_check CHECK (((lifted_at IS NULL) = (lifted_by IS NULL))),
    CONSTRAINT legal_holds_reason_check CHECK (((length(TRIM(BOTH FROM reason)) >= 1) AND (length(TRIM(BOTH FROM reason)) <= 500)))
);

ALTER TABLE ourvidz.legal_holds OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.hold_set(p_user uuid, p_reason text, p_by text) RETURNS ourvidz.legal_holds
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  h ourvidz.legal_holds;
begin
  if length(trim(p_reason)) between 1 and 500 is not true then
    raise exception 'A legal hold needs a reason, of at most 500 characters.' using errcode = 'OV009', column = 'reason';
  end if;
  -- The lock that each step of an erasure takes: a step that has begun finishes first, and the next one is refused.
  perform ourvidz.profile_lock(p_user);
  insert into ourvidz.legal_holds (user_id, reason, set_by, since) values (p_user, p_reason, p_by, ourvidz.now())
  on conflict (user_id) where lifted_at is null do nothing;
  select * into h from ourvidz.legal_holds where user_id = p_user and lifted_at is null;
  return h;
end
$$;

ALTER FUNCTION ourvidz.hold_set(p_user uuid, p_reason text, p_by text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.honour_cancel(p_job uuid, p_claim bigint, p_token uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select * into j from public.jobs where id = p_job;
  if not j.cancel_requested and ourvidz.may_run(j.user_id) then
    raise exception 'Nobody asked to cancel job %.', p_job using errcode = 'OV001';
  elsif not j.cancel_requested then
    perform ourvidz.append(array[p_job], 'cancel_requested',
      array[jsonb_build_object('reason', coalesce((select reason from ourvidz.stops where user_id = j.user_id), 'age'))], 'system');
  end if;
  perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], 'executor');
end
$$;

ALTER FUNCTION ourvidz.honour_cancel(p_job uuid, p_claim bigint, p_token uuid) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.identities (
    n integer NOT NULL,
    id uuid NOT NULL,
    how text NOT NULL,
    since timestamp with time zone NOT NULL,
    xid_offset bigint DEFAULT 0 NOT NULL,
    system_identifier bigint,
    database_oid oid,
    CONSTRAINT identities_how_check CHECK ((how = ANY (ARRAY['made'::text, 'restored'::text, 'copied'::text]))),
    CONSTRAINT identities_n_check CHECK ((n > 0)),
    CONSTRAINT identities_xid_offset_check CHECK ((xid_offset >= 0))
);

ALTER TABLE ourvidz.identities OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.identities.id IS 'Heads that are kept outside belong to it. A copy that goes on beside its original gets another.';

COMMENT ON COLUMN ourvidz.identities.xid_offset IS 'Added to transaction ids where events are ordered by them, so that a younger server goes on above the older one (ourvidz.event_xid).';

COMMENT ON COLUMN ourvidz.identities.system_identifier IS 'The server''s. Null: any, of a database that is a template for others.';

CREATE FUNCTION ourvidz.identity() RETURNS ourvidz.identities
    LANGUAGE sql STABLE
    AS $$ select * from ourvidz.identities order by n desc limit 1 $$;

ALTER FUNCTION ourvidz.identity() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.image_moderated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.output_act(new.id::text, case new.moderation_status when 'rejected' then 'hide' else 'restore' end,
                             ourvidz.actor(), 'admin');
  return null;
end
$$;

ALTER FUNCTION ourvidz.image_moderated() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.image_reviewed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if new.reviewed_by is distinct from (select user_id from ourvidz.caller()) then
    raise exception 'A review is signed in one''s own name only.' using errcode = 'OV017', column = 'reviewed_by';
  end if;
  return new;
end
$$;

ALTER FUNCTION ourvidz.image_reviewed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.images_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from public.jobs where id = new.job_id for share;
  if found then
    perform ourvidz.sync_images(array[new.job_id]);
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.images_changed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.images_check_insert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ begin return jsonb_populate_record(new, ourvidz.rpc('image_row', to_jsonb(new))); end $$;

ALTER FUNCTION ourvidz.images_check_insert() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.images_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
  v_output boolean;
begin
  for j in
    select * from public.jobs where id = any (array(select old.job_id union select id from public.jobs where image_id = old.id))
    order by id for update
  loop
    continue when j.hidden;
    v_output := j.id = old.job_id and not exists (
      select from public.images where job_id = j.id and id <> old.id and coalesce(image_index, 0) = coalesce(old.image_index, 0));
    continue when not v_output and j.image_id is distinct from old.id;
    perform ourvidz.append(array[j.id], 'removed', array[
      case when v_output then jsonb_build_object('what', 'output', 'kind', 'image', 'index', coalesce(old.image_index, 0), 'image_id', old.id)
           else jsonb_build_object('what', 'output', 'image_id', old.id) end], ourvidz.actor(j.user_id));
    if v_output then
      perform ourvidz.artifacts_removed(array[j.id]);
      perform ourvidz.sync_videos(array_remove(array[j.video_id], null), false);
    end if;
  end loop;
  return old;
end
$$;

ALTER FUNCTION ourvidz.images_removed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.images_taken(p_jobs uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if exists (select from ourvidz.takedowns where job_id = any (p_jobs)) then
    perform ourvidz.row_taken(i.id) from public.images as i where i.job_id = any (p_jobs);
  end if;
end
$$;

ALTER FUNCTION ourvidz.images_taken(p_jobs uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.import_legacy() RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_zero constant bytea := decode(repeat('00', 32), 'hex');
  v_count bigint;
begin
  create temp table older on commit drop as
  select o.*, r.read, r.read->'settings' as settings, coalesce(r.read->>'job_type', o.job_type) as made_as,
         sha256(convert_to(gen_random_uuid()::text, 'UTF8')) as salt
  from ourvidz.legacy_jobs_read(v_now) as o
  cross join lateral (select ourvidz.legacy_request(o.user_id, o.job_type, o.metadata, o.prompt) as read offset 0) as r
  where (select j.id from public.jobs as j where j.id = o.id) is null;

  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select (o.created_at at time zone 'UTC')::date, o.id, 1, 'imported', e.status, 'migration', o.created_at, e.data, v_zero,
         ourvidz.event_hash(v_zero, o.id, 1, 'imported', null, e.status, null, 'migration', o.created_at, e.data)
  from older as o
  cross join lateral (select o.waited and o.settings is not null as queues) as may
  cross join lateral (select case when may.queues then 'queued' when o.waited then 'failed' else o.status end as status) as becomes
  left join ourvidz.job_types as kind on kind.name = o.made_as
  cross join lateral (select becomes.status, jsonb_strip_nulls(jsonb_build_object(
    'user_id', o.user_id, 'job_type', o.made_as, 'lane', coalesce(o.read->>'lane', 'older'),
    'priority', coalesce(o.level * 2 + kind.fast::integer, 0), 'rank', 0,
    'run_at', ourvidz.utc_text(case when may.queues and o.verified then o.created_at end),
    'project_id', o.project_id, 'video_id', o.video_id, 'image_id', o.image_id, 'status', o.older_status,
    'error_class', case when becomes.status = 'failed' then case when o.waited then 'abandoned' else 'older_system' end end,
    'final', case when becomes.status in ('failed', 'cancelled') then o.settings is null end,
    'completed_at', ourvidz.utc_text(case when not may.queues then greatest(o.completed_at, o.created_at) end))) as data) as e;
  get diagnostics v_count = row_count;

  insert into public.job_payloads (job_id, user_id, prompt, negative_prompt, settings, set_aside, metadata, salt, body_digest, error_message)
  select id, user_id, prompt, read->>'negative_prompt', settings, nullif(read->'set_aside', '[]'), metadata, salt,
         sha256(convert_to(id::text, 'UTF8')), left(error_message, 2000)
  from older where settings is not null;
  update public.jobs as j
  set format = coalesce(o.format, c.told->>'format'), quality = coalesce(o.quality, c.told->>'quality'),
      model_type = coalesce(o.model_type, c.told->>'model_type'), worker_type = coalesce(o.worker_type, c.told->>'worker_type'),
      metadata = o.metadata, error_message = o.error_message
  from older as o left join ourvidz.job_types as kind on kind.name = o.made_as
  cross join lateral (select ourvidz.legacy_columns(kind, null) as told offset 0) as c
  where j.id = any (array(select id from older)) and o.id = j.id;
  drop table older;
  perform ourvidz.repoint_legacy();
  return v_count;
end
$$;

ALTER FUNCTION ourvidz.import_legacy() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.initial_job(e public.job_events, p_now timestamp with time zone) RETURNS SETOF public.jobs
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select b.*
  from ourvidz.transitions as t
  left join ourvidz.job_types as kind on kind.name = e.data->>'job_type'
  left join public.job_payloads as words on words.job_id = e.job_id
  cross join lateral (select jsonb_populate_record(null::public.jobs, ourvidz.legacy_columns(kind, words)) as j offset 0) as beside
  cross join lateral ourvidz.evolve(beside.j, e) as b
  where t.event = e.type and t.source is null and t.target = e.to_status
    and e.version = 1 and e.claim_no is null and e.prev_hash = decode(repeat('00', 32), 'hex')
    and e.occurred_at <= p_now and e.submitted_on = (e.occurred_at at time zone 'UTC')::date
    and e.data - t.keys = '{}'
    and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,
                                    e.claim_no, e.actor, e.occurred_at, e.data)
$$;

ALTER FUNCTION ourvidz.initial_job(e public.job_events, p_now timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.insert_payloads(p_fresh ourvidz.asked_job[], p_salts bytea[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into public.job_payloads (job_id, user_id, prompt, negative_prompt, settings, metadata, salt, body_digest, idempotency_key,
                                   set_aside, source)
  select a.id, a.user_id, a.prompt, a.negative_prompt,
         case when a.settings ? 'seed' then a.settings
              else a.settings || jsonb_build_object('seed', floor(random() * 4294967296)::bigint) end,
         a.metadata, p_salts[a.n], a.body_digest, a.idempotency_key,
         a.set_aside, a.source
  from (select f.*, row_number() over () as n from unnest(p_fresh) as f) as a;
end
$$;

ALTER FUNCTION ourvidz.insert_payloads(p_fresh ourvidz.asked_job[], p_salts bytea[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.insert_submitted(p_fresh ourvidz.asked_job[], p_now timestamp with time zone, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_salts bytea[];
begin
  perform ourvidz.check_pictures(p_fresh);
  select array_agg(ourvidz.salt()) into v_salts from unnest(p_fresh);
  -- Before the events: the rows that they begin take columns from the payloads (ourvidz.initial_job).
  perform ourvidz.insert_payloads(p_fresh, v_salts);

  with groups as materialized (
    select user_id, lane, count(*) as jobs from unnest(p_fresh) group by user_id, lane order by user_id, lane
  ), entries as materialized (
    select g.user_id, g.lane, r.start, r.step from groups as g cross join lateral ourvidz.next_rank(g.user_id, g.lane, g.jobs) as r
  ), ranked as (
    select a.asked, a.n, e.start + e.step * (row_number() over (partition by e.user_id, e.lane order by (a.asked).ord) - 1)
                         + ourvidz.priority_offset((a.asked).priority) as rank
    from (select f as asked, row_number() over () as n from unnest(p_fresh) as f) as a
    join entries as e on e.user_id = (a.asked).user_id and e.lane = (a.asked).lane
  )
  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select e.submitted_on, e.job_id, e.version, e.type, e.to_status, e.actor, e.occurred_at, e.data, e.prev_hash, e.hash
  from ranked as r cross join lateral ourvidz.first_event(r.asked, r.rank, v_salts[r.n], p_now, p_actor) as e;

  perform ourvidz.wake(lane, jobs)
  from (select a.lane, count(*) as jobs from unnest(p_fresh) as a where coalesce(a.run_at, p_now) <= p_now group by a.lane) as lanes;
end
$$;

ALTER FUNCTION ourvidz.insert_submitted(p_fresh ourvidz.asked_job[], p_now timestamp with time zone, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake(p_queue text, p_messages jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_read constant jsonb := (select jsonb_agg(jsonb_build_object('queue', p_queue, 'raw', m->'message', 'digest', m->'digest',
                                                                'id', its.r->'id', 'user_id', its.r->'user_id') order by n)
                            from jsonb_array_elements(p_messages) with ordinality as given (m, n)
                            cross join lateral (select ourvidz.read_message(m->'message') as r) as its);
  v_known jsonb;
  v_fresh jsonb;
  v_again jsonb;
  v_done jsonb := '[]';
begin
  perform ourvidz.refuse_copy();
  -- Serialised with these users' requests elsewhere, or concurrent submits could exceed the plan. All locks at once, in their fixed order:
  -- two intakes never wait for each other.
  perform ourvidz.lock_names('pace', array(select (m->>'user_id')::uuid::text from jsonb_array_elements(v_read) as m));
  select coalesce(jsonb_agg(m order by n) filter (where there and nth = 1), '[]'),
         coalesce(jsonb_agg(m order by n) filter (where not there and nth = 1), '[]'), coalesce(jsonb_agg(m order by n) filter (where nth > 1), '[]')
  into v_known, v_fresh, v_again
  from (
    select given.n, given.j || jsonb_build_object('ord', given.n) as m,
           (select id from public.jobs where id = (given.j->>'id')::uuid) is not null as there,
           row_number() over (partition by given.j->>'id' order by given.n) as nth
    from jsonb_array_elements(v_read) with ordinality as given (j, n)
  ) as sorted;

  begin  -- all at once, the usual case; a refusal undoes this, and they go one by one
    if v_fresh <> '[]' then
      v_done := ourvidz.intake_fresh(v_fresh);
    end if;
  exception when others then
    perform ourvidz.reraise_unless_refusal(sqlstate, sqlerrm);
    v_known := v_fresh || v_known;
  end;
  select v_done || coalesce(jsonb_agg(ourvidz.intake_one(m)), '[]') into v_done from jsonb_array_elements(v_known) as m;

  perform ourvidz.intake_record(p_queue, (
    select coalesce(jsonb_agg(r || jsonb_build_object('message_id', m->'id', 'digest', m->'digest')), '[]')
    from jsonb_array_elements(v_done) as r cross join lateral (select v_read->((r->>'ord')::integer - 1) as m) as its));
  if v_again <> '[]' then  -- a later message of the same job sees the outcome of the first
    select v_done || jsonb_agg(r || jsonb_build_object('ord', v_again->((r->>'ord')::integer - 1)->'ord')) into v_done
    from jsonb_array_elements(ourvidz.intake(p_queue, (
      select jsonb_agg(jsonb_build_object('message', m->'raw', 'digest', m->'digest') order by n)
      from jsonb_array_elements(v_again) with ordinality as later (m, n)))) as r;
  end if;
  return v_done;
end
$$;

ALTER FUNCTION ourvidz.intake(p_queue text, p_messages jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_forget(p_older interval DEFAULT '30 days'::interval) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_count bigint;
begin
  delete from ourvidz.intake_messages where at < (select ourvidz.now() - p_older);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

ALTER FUNCTION ourvidz.intake_forget(p_older interval) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_fresh(p_messages jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.check_unfinished(user_id, jobs)
  from (select (m->>'user_id')::uuid as user_id, count(*)::integer as jobs from jsonb_array_elements(p_messages) as m group by 1) as of_user;
  perform ourvidz.check_message(m) from jsonb_array_elements(p_messages) as m;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('ord', p_messages->(s.ord::integer - 1)->'ord',
                                                 'outcome', case when s.created then 'drained' else 'repeated' end)), '[]')
    from ourvidz.submit_batch((
      select coalesce(jsonb_agg(m->'raw' order by n), '[]') from jsonb_array_elements(p_messages) with ordinality as given (m, n)),
      'intake', 'redis') as s);
end
$$;

ALTER FUNCTION ourvidz.intake_fresh(p_messages jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_join(p_raw jsonb) RETURNS text
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  a constant ourvidz.asked_job := (ourvidz.normalise_requests(jsonb_build_array(p_raw), 'redis'))[1];
  j public.jobs;
begin
  select * into j from public.jobs where id = a.id for update;
  if j.user_id is distinct from a.user_id
     -- The type it began with: it may have been rerouted to its fallback since.
     or a.job_type is distinct from (select data->>'job_type' from public.job_events where job_id = j.id and version = 1) then
    raise exception 'Job % is there already, and it is another user''s or of another type than the message says.', j.id using errcode = 'OV008';
  elsif exists (select from ourvidz.intake_messages where message_id = j.id and outcome in ('drained', 'joined')) then
    return 'repeated';
  end if;
  perform ourvidz.check_references_and_settings(a, ourvidz.kind_of(a.job_type));
  if j.claim_no = 0 and j.status = 'queued' and j.job_type = a.job_type then
    perform ourvidz.intake_settings(j, a);
  end if;
  return 'joined';
end
$$;

ALTER FUNCTION ourvidz.intake_join(p_raw jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_limit_users(p_users uuid[], p_tokens bigint DEFAULT 100000) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  delete from ourvidz.sharing;
  if p_users is null then
    return;
  end if;
  insert into ourvidz.sharing (users, since) values (p_users, ourvidz.now());
  insert into public.profiles (id, age_verified, subscription_status, token_balance)
  select distinct id, true, 'premium', p_tokens from unnest(p_users) as named (id)
  on conflict (id) do nothing;
end
$$;

ALTER FUNCTION ourvidz.intake_limit_users(p_users uuid[], p_tokens bigint) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_one(p_message jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_outcome text;
  v_field text;
begin
  if not exists (select from public.jobs where id = (p_message->>'id')::uuid) then
    return ourvidz.intake_fresh(jsonb_build_array(p_message))->0;
  end if;
  perform ourvidz.check_message(p_message);
  v_outcome := ourvidz.intake_join(p_message->'raw');
  return jsonb_build_object('ord', p_message->'ord', 'outcome', v_outcome);
exception when others then
  perform ourvidz.reraise_unless_refusal(sqlstate, sqlerrm);
  get stacked diagnostics v_field = column_name;
  return jsonb_strip_nulls(jsonb_build_object('ord', p_message->'ord', 'outcome', 'refused', 'reason', sqlstate, 'detail', sqlerrm,
                                              'field', nullif(v_field, '')));
end
$$;

ALTER FUNCTION ourvidz.intake_one(p_message jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_record(p_queue text, p_records jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into ourvidz.intake_messages (at, queue, outcome, message_id, digest, reason, field)
  select v_now, p_queue, r.outcome, r.message_id, decode(r.digest, 'hex'), ourvidz.known_or_other('reason', r.reason),
         -- config.size: the part that the message format knows
         coalesce(nullif(ourvidz.known_or_other('field', r.field), 'other'), ourvidz.known_or_other('field', split_part(r.field, '.', 1)))
  from jsonb_to_recordset(p_records) as r (outcome text, message_id uuid, digest text, reason text, field text);
  insert into ourvidz.intake_counts as c (day, queue, outcome, reason, n)
  select (v_now at time zone 'UTC')::date, p_queue, r.outcome, coalesce(ourvidz.known_or_other('reason', r.reason), ''), count(*)
  from jsonb_to_recordset(p_records) as r (outcome text, reason text)
  group by 3, 4 order by 3, 4
  on conflict (day, queue, outcome, reason) do update set n = c.n + excluded.n;
end
$$;

ALTER FUNCTION ourvidz.intake_record(p_queue text, p_records jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_settings(j public.jobs, a ourvidz.asked_job) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_kind constant ourvidz.job_types := ourvidz.kind_of(j.job_type);
  v_had public.job_payloads;
  v_new public.job_payloads;
  v_row jsonb;
  v_lane text;
  v_change bigint;
begin
  select * into v_had from public.job_payloads where job_id = j.id;
  if v_had.source is distinct from 'row' then
    return;  -- a job from another source was requested in full
  end if;
  v_row := (ourvidz.normalise_requests(jsonb_build_array(jsonb_build_object('user_id', j.user_id, 'job_type', j.job_type,
                                                                    'metadata', v_had.metadata)), 'row'))[1].chosen;
  v_new := v_had;
  select v_had.settings || coalesce(jsonb_object_agg(key, value), '{}') into v_new.settings
  from jsonb_each(a.chosen) where key not like 'compel%' and not v_row ? key;
  if a.chosen ? 'compel_weights' and not v_row ? 'compel_weights' then
    v_new.prompt := ourvidz.weighted_prompt(v_had.prompt, a.chosen);
    v_new.metadata := v_had.metadata || jsonb_build_object('compel_enabled', true, 'compel_weights', a.chosen->'compel_weights');
  end if;
  select jsonb_agg(distinct one) into v_new.set_aside
  from jsonb_array_elements(coalesce(v_had.set_aside, '[]') || coalesce(a.set_aside, '[]')) as one;
  if v_new is not distinct from v_had then
    return;
  end if;
  perform ourvidz.check_references(v_kind, coalesce(v_new.settings->'references', '{}'));
  perform ourvidz.check_settings(j.job_type, v_new.settings, v_kind.limits);
  update public.job_payloads set settings = v_new.settings, prompt = v_new.prompt, metadata = v_new.metadata, set_aside = v_new.set_aside
  where job_id = j.id;
  v_lane := ourvidz.lane_of(v_kind.family, v_new.settings);
  v_change := ourvidz.price_of(j.job_type, v_new.settings) - ourvidz.price_of(j.job_type, v_had.settings);
  if v_lane <> j.lane or v_change <> 0 then
    perform ourvidz.append(array[j.id], 'rerouted', array[jsonb_build_object(
      'job_type', j.job_type, 'from_type', j.job_type, 'lane', v_lane, 'reason', 'message', 'price_change', v_change,
      'rank', ourvidz.json_number(case when v_lane = j.lane then j.rank
                                  else (select start from ourvidz.next_rank(j.user_id, v_lane, 1)) + ourvidz.priority_offset(j.priority) end))],
      'intake');
    perform ourvidz.wake(v_lane, 1);
  end if;
end
$$;

ALTER FUNCTION ourvidz.intake_settings(j public.jobs, a ourvidz.asked_job) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_submit(p_raw jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_id constant uuid := ourvidz.read_message(p_raw)->>'id';
  v_made record;
begin
  if exists (select from public.jobs where id = v_id) then
    perform ourvidz.intake_join(p_raw);
    return ourvidz.submitted(v_id, false);
  end if;
  select * into v_made from ourvidz.submit_batch(jsonb_build_array(p_raw), 'intake', 'redis');
  return ourvidz.submitted(v_made.job_id, v_made.created);
end
$$;

ALTER FUNCTION ourvidz.intake_submit(p_raw jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.intake_users() RETURNS uuid[]
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ select users from ourvidz.sharing $$;

ALTER FUNCTION ourvidz.intake_users() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.invalid_keys(p_type text, p_data jsonb) RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select array(
    select d.key from ourvidz.event_types as e cross join lateral jsonb_each(p_data) as d
    where e.name = p_type and not (e.kinds ? d.key and ourvidz.matches_kind(d.value, e.kinds->d.key)) order by d.key)
$$;

ALTER FUNCTION ourvidz.invalid_keys(p_type text, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.is_blocked(p_sha256 text, p_pdq text[]) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from ourvidz.blocked_hashes where sha256 = p_sha256)
      or exists (select from unnest(p_pdq) as given join ourvidz.blocked_hashes as b on b.pdq is not null
                 where bit_count(b.pdq # ourvidz.pdq_of(given)) <= (select pdq_distance from ourvidz.policy))
$$;

ALTER FUNCTION ourvidz.is_blocked(p_sha256 text, p_pdq text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.is_copy() RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_server bigint;
  v_elsewhere boolean;
begin
  select i.system_identifier, i.database_oid <> (select d.oid from pg_database as d where d.datname = current_database())
  into v_server, v_elsewhere
  from ourvidz.identities as i order by i.n desc limit 1;
  if not found then
    return true;
  elsif v_server is null then
    return false;
  elsif v_elsewhere or v_server = 0 then
    return v_elsewhere;
  end if;
  -- A separate statement: Postgres checks the privilege when a query starts, even if the call is never reached.
  return v_server <> (select c.system_identifier from pg_control_system() as c);
end
$$;

ALTER FUNCTION ourvidz.is_copy() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.is_made_for(p_user uuid, p_sha256 text) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from public.artifacts as a join public.jobs as j on j.id = a.job_id where a.sha256 = p_sha256 and j.user_id = p_user
                   and not a.taken_down)
$$;

ALTER FUNCTION ourvidz.is_made_for(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.is_suspended(p_user uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$ select exists (select from ourvidz.suspensions where user_id = p_user and lifted_at is null) $$;

ALTER FUNCTION ourvidz.is_suspended(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.is_withdrawn(p_user uuid, p_sha256 text) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from public.consents where user_id = p_user and sha256 = p_sha256)
     and not exists (select from public.consents where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null)
$$;

ALTER FUNCTION ourvidz.is_withdrawn(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.is_withheld(p_bucket text, p_path text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ select exists (select from ourvidz.taken_objects where bucket = p_bucket and path = p_path and (down or suspended)) $$;

ALTER FUNCTION ourvidz.is_withheld(p_bucket text, p_path text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.issue_tokens(p_kind text, p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) RETURNS record
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_caller constant record := ourvidz.caller();
  v_key constant text := coalesce(p_key, gen_random_uuid()::text);
  v_known record;
begin
  if v_caller.role is not null and v_caller.role <> 'service_role' and not v_caller.admin then
    raise exception 'Only an admin may grant or revoke tokens.' using errcode = 'OV017';
  elsif coalesce(p_amount, 0) not between 1 and 1000000000000 then
    raise exception 'An amount of tokens is 1 to 1,000,000,000,000; % is not.', p_amount using errcode = 'OV009', column = 'amount';
  elsif coalesce(length(trim(p_reason)), 0) not between 1 and 500 then
    raise exception 'Say why, in 1 to 500 characters.' using errcode = 'OV009', column = 'reason';
  elsif length(v_key) not between 1 and 200 then
    raise exception 'A key has 1 to 200 characters.' using errcode = 'OV009', column = 'key';
  end if;
  -- Of two calls with one key, the second waits here, then finds the first one's entry.
  select token_balance into balance from public.profiles where id = p_user for no key update;
  if not found then
    raise exception 'There is no profile %.', p_user using errcode = 'OV018';
  end if;
  select kind, abs(amount) as amount into v_known
  from ourvidz.token_entries where job_id is null and user_id = p_user and key = v_key and account = 'available';
  created := not found;
  if created then
    insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)
    select p_user, leg.account, leg.sign * p_amount, p_kind, v_key, trim(p_reason),
           -- A caller with a JWT cannot choose the actor.
           case when v_caller.role is null then coalesce(p_actor, ourvidz.actor()) else ourvidz.actor() end, ourvidz.now()
    from (values ('issued', case p_kind when 'grant' then -1 else 1 end), ('available', case p_kind when 'grant' then 1 else -1 end))
         as leg (account, sign);
    select token_balance into balance from public.profiles where id = p_user;
  elsif (v_known.kind, v_known.amount) is distinct from (p_kind, p_amount) then
    raise exception 'Key "%" of profile % has moved % tokens before (%): it cannot mean something else.',
      p_key, p_user, v_known.amount, v_known.kind using errcode = 'OV008', hint = 'Use another key.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.issue_tokens(p_kind text, p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.job_as_of(p_job uuid, p_at timestamp with time zone) RETURNS public.jobs
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select ourvidz.fold(e order by e.version) from public.job_events as e where e.job_id = p_job and e.occurred_at <= p_at
$$;

ALTER FUNCTION ourvidz.job_as_of(p_job uuid, p_at timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.job_texts(p_job uuid, p_claim bigint, p_token uuid) RETURNS TABLE(field text, written text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
  v_character text;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select * into j from public.jobs where id = p_job;
  select lower(metadata->>'character_id') into v_character from public.job_payloads where job_id = p_job;
  return query
  select distinct found.field, found.written
  from (
    select 'title' as field, p.title as written from public.projects as p where p.id = j.project_id and p.user_id = j.user_id
    union all select 'title', v.title from public.videos as v where v.id = j.video_id and v.user_id = j.user_id
    union all (select 'title', word from public.images as i cross join lateral unnest(array[i.title, i.prompt]) as word
               where (i.id = j.image_id or i.job_id = j.id) and i.user_id = j.user_id limit 200)
    union all select 'character', word
    from public.characters as c
    cross join lateral unnest(array[c.name, c.description, c.traits, array_to_string(c.appearance_tags, ', ')]) as word
    where c.user_id = j.user_id
      and (c.id::text = v_character
           or c.id = (select p.character_id from public.projects as p where p.id = j.project_id and p.user_id = j.user_id))
  ) as found
  where trim(found.written) <> '';
end
$$;

ALTER FUNCTION ourvidz.job_texts(p_job uuid, p_claim bigint, p_token uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.job_view(p_job uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select jsonb_build_object(
    'job_id', j.id, 'job', to_jsonb(j) - '{head_hash,ready,rank,lane,crashed_on,executor_id,deadline}'::text[]
           || jsonb_build_object('metadata', coalesce(j.metadata, p.metadata), 'error_message', coalesce(j.error_message, p.error_message)),
    'status', j.status, 'version', j.version, 'allowed', to_jsonb(ourvidz.allowed_next(j)),
    'word', case when j.status in ('queued', 'completed') then j.status when j.status in ('failed', 'cancelled') then 'failed' else 'processing' end,
    'position', place.n, 'eta_seconds', ceil(place.eta),
    'stage', j.status, 'progress', jsonb_build_object('generated', made.generated, 'uploaded', made.uploaded,
                                                      'total', coalesce((p.settings->>'images')::integer, 1)),
    'charge', jsonb_build_object('delivered', made.uploaded, 'charged', paid.charged, 'held', paid.held),
    'price', (select (e.data->>'price')::bigint from public.job_events as e
              where e.job_id = j.id and e.type in ('submitted', 'retried') order by e.version desc limit 1),
    'error', case when j.status = 'cancelled' then jsonb_build_object('class', 'cancelled', 'message', 'cancelled')
                  when j.error_class is not null then jsonb_build_object('class', j.error_class, 'message', p.error_message) end,
    'waits_for', ourvidz.waits_for(j),
    'set_aside', coalesce(p.set_aside, '[]'), 'assets', made.assets)
  from public.jobs as j
  left join public.job_payloads as p on p.job_id = j.id
  cross join lateral ourvidz.queue_position(j) as place
  cross join lateral (
    select count(*) filter (where kind <> 'thumbnail') as generated,
           count(*) filter (where kind <> 'thumbnail' and uploaded_at is not null) as uploaded,
            coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'path', path, 'kind', kind, 'index', index, 'media_type', media_type,
                                                  'report', ourvidz.report_link(job_id, index))
                               order by kind = 'thumbnail', index)
                     filter (where uploaded_at is not null and deleted_at is null and not taken_down), '[]') as assets
    from public.artifacts where job_id = j.id
  ) as made
  cross join lateral (
    select coalesce(sum(amount) filter (where account = 'revenue'), 0) as charged, coalesce(sum(amount) filter (where account = 'held'), 0) as held
    from ourvidz.token_entries where job_id = j.id
  ) as paid
  where j.id = p_job
$$;

ALTER FUNCTION ourvidz.job_view(p_job uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.jobs_ask() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET extra_float_digits TO '1'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ begin return jsonb_populate_record(new, ourvidz.rpc('plain_row', to_jsonb(new))); end $$;

ALTER FUNCTION ourvidz.jobs_ask() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.jobs_asked() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ begin perform ourvidz.rpc('plain_events', (select jsonb_agg(id) from after_rows)); return null; end $$;

ALTER FUNCTION ourvidz.jobs_asked() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.jobs_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if (select role from ourvidz.caller()) is null then
    raise exception 'DELETE on public.jobs is refused: it is append-only.'
      using errcode = 'OV003', hint = 'ourvidz.remove_from_library takes an ended job out of its owner''s library.';
  end if;
  perform ourvidz.rpc('delete_job', jsonb_build_object('job_id', old.id));
  return null;
end
$$;

ALTER FUNCTION ourvidz.jobs_delete() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.jobs_guard_insert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_job uuid;
  v_xid constant xid8 := ourvidz.event_xid();
begin
  select n.id into v_job
  from after_rows as n
  -- A scalar subquery on purpose: one index lookup per row, whatever batch size the planner assumes. xid is not a condition of that lookup,
  -- or Postgres may use the index on it and read all events of the batch for each row.
  where (select born = n and e.xid = v_xid
         from public.job_events as e
         cross join lateral (select jsonb_populate_record(null::public.jobs, ourvidz.beside(n)) as j offset 0) as its
         cross join lateral ourvidz.evolve(its.j, e) as born
         where e.job_id = n.id and e.version = 1 and e.submitted_on = n.submitted_on and e.from_status is null) is not true
  limit 1;
  if found then
    raise exception 'Job %: a job begins with its event.', v_job
      using errcode = 'OV004', hint = 'Call ourvidz.submit.';
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.jobs_guard_insert() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.jobs_guard_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET extra_float_digits TO '1'
    AS $$
declare
  v_job uuid;
  v_now constant timestamptz := ourvidz.now();
  v_xid constant xid8 := ourvidz.event_xid();
begin
  -- A full join can only be hashed or merged. Transition tables have no statistics, and a session plans this once, for an update of one
  -- row: a nested loop would later compare each row of a large update with every other.
  select coalesce(n.id, o.id) into v_job
  from after_rows as n
  full join before_rows as o on o.id = n.id
  where n.id is null or o.id is null
     or case when n.version = o.version
             -- `ready` has no event: only the clock turns it true. The legacy system's columns have none either.
             then to_jsonb(n) - ourvidz.other_columns() <> to_jsonb(o) - ourvidz.other_columns()
                  or n.ready and o.ready is not true and n.run_at > v_now
             else n.version <> o.version + 1
                  -- A scalar subquery on purpose, as below: EXISTS may be planned as a hash of all events.
                  or (select e.hash = n.head_hash and e.prev_hash = o.head_hash and e.to_status = n.status and e.xid = v_xid
                      from public.job_events as e where e.job_id = n.id and e.version = n.version) is not true end
  limit 1;
  if found then
    raise exception 'Job %: its row may change only by an event.', v_job
      using errcode = 'OV004', hint = 'Call a function of schema ourvidz (advance, complete, cancel …): it writes both.';
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.jobs_guard_update() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.jobs_of_executor(p_executor uuid) RETURNS TABLE(job_id uuid, claim_no bigint, cancel_requested boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.check_executor(p_executor);
  return query select j.id, j.claim_no, j.cancel_requested from public.jobs as j where j.executor_id = p_executor;
end
$$;

ALTER FUNCTION ourvidz.jobs_of_executor(p_executor uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.json_number(p double precision) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET extra_float_digits TO '1'
    AS $$
begin
  return to_jsonb(p);
end
$$;

ALTER FUNCTION ourvidz.json_number(p double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.kind_of(p_type text) RETURNS ourvidz.job_types
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_kind ourvidz.job_types;
begin
  select * into v_kind from ourvidz.job_types where name = p_type;
  if not found then
    raise exception 'There is no job type "%".', coalesce(left(p_type, 40), '') using errcode = 'OV009', column = 'job_type';
  end if;
  return v_kind;
end
$$;

ALTER FUNCTION ourvidz.kind_of(p_type text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.known_or_other(p_column text, p_value text) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case when ourvidz.matches_kind(to_jsonb(p_value), kind) then p_value else 'other' end
  from ourvidz.column_kinds where name = 'ourvidz.intake_messages.' || p_column
$$;

ALTER FUNCTION ourvidz.known_or_other(p_column text, p_value text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lane_of(p_family text, p_settings jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case
    when p_family = 'sdxl' then case when p_settings->'references' ? 'style' then 'sdxl_ip' else 'sdxl' end
    when coalesce(p_settings->'references', '{}') <> '{}' then p_family || '_vace'
    else p_family end
$$;

ALTER FUNCTION ourvidz.lane_of(p_family text, p_settings jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lane_order(p_lanes text[], p_resident text[], p_since timestamp with time zone, p_patience timestamp with time zone) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET enable_sort TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return (select array_agg(l.lane order by
    (not l.lane = any (p_resident) and oldest.run_at < p_patience and coalesce(p_since < p_patience, true)) desc,
    l.lane = any (p_resident) desc,
    oldest.run_at)
  from unnest(p_lanes) as l (lane)
  cross join lateral (select run_at from public.jobs where ready and lane = l.lane order by run_at limit 1) as oldest);
end
$$;

ALTER FUNCTION ourvidz.lane_order(p_lanes text[], p_resident text[], p_since timestamp with time zone, p_patience timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lane_served(p_lane text, p_now timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from ourvidz.executors where state = 'active' and p_lane = any (lanes) and lease_until > p_now)
$$;

ALTER FUNCTION ourvidz.lane_served(p_lane text, p_now timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.ledger_follow(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into ourvidz.token_entries (user_id, account, amount, kind, job_id, job_version, actor, at)
  select j.user_id, leg.account, leg.amount, leg.kind, e.job_id, e.version, e.actor, e.occurred_at
  from unnest(p_events) as e
  cross join lateral (select user_id from public.jobs where id = e.job_id limit 1) as j
  cross join lateral (
    -- No condition on account: it would match token_entries_of_user (held entries only) without using its key, and the planner would read
    -- that index whole where statistics say that it is small.
    select coalesce(sum(amount) filter (where account = 'held'), 0)::bigint as held,
           max(job_version) filter (where kind = 'hold' and account = 'held') as since
    from ourvidz.token_entries where job_id = e.job_id
  ) as before
  cross join lateral (
    select case when e.type in ('submitted', 'retried') then (e.data->>'price')::bigint end as price,
           case when e.type = 'rerouted' and held > 0 then greatest((e.data->>'price_change')::bigint, -held) end as change,
           case when held > 0 and e.type in ('completed', 'failed', 'cancelled') then ourvidz.charge_due(e, held, since) else 0 end as earned,
           case when e.to_status in ('completed', 'failed', 'cancelled') then held else 0 end as back
    offset 0  -- evaluated once per event, not once per leg
  ) as due
  cross join lateral (
    values ('hold', 'available', -due.price), ('hold', 'held', due.price),
           ('adjust', 'available', -due.change), ('adjust', 'held', due.change),
           ('capture', 'held', -due.earned), ('capture', 'revenue', due.earned),
           ('release', 'held', due.earned - due.back), ('release', 'available', due.back - due.earned)
  ) as leg (kind, account, amount)
  where leg.amount <> 0;
end
$$;

ALTER FUNCTION ourvidz.ledger_follow(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.legacy_columns(k ourvidz.job_types, w public.job_payloads) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select case when k.name is null then '{}' else jsonb_build_object(
    'format', case when k.video then 'video' else 'image' end, 'quality', case when k.fast then 'fast' else 'high' end,
    'model_type', k.name, 'worker_type', upper(k.family),
    'metadata', jsonb_build_object(
      'bucket', k.name, 'generation_format', k.name, 'model_type', k.family, 'model_variant', k.model_variant, 'queue', k.queue,
      'is_sdxl', k.family = 'sdxl', 'is_enhanced', k.enhance, 'num_images', coalesce(w.settings->'images', '1'), 'prompt', w.prompt,
      'content_type', case when k.video then 'video' else 'image' end, 'file_extension', k.extension) || coalesce(w.metadata, '{}')) end
$$;

ALTER FUNCTION ourvidz.legacy_columns(k ourvidz.job_types, w public.job_payloads) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.legacy_jobs_read(p_now timestamp with time zone) RETURNS TABLE(id uuid, user_id uuid, job_type text, status text, older_status text, waited boolean, verified boolean, level smallint, created_at timestamp with time zone, completed_at timestamp with time zone, project_id uuid, video_id uuid, image_id uuid, prompt text, metadata jsonb, error_message text, format text, quality text, model_type text, worker_type text)
    LANGUAGE plpgsql STABLE
    SET "TimeZone" TO 'UTC'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
begin
  return query execute $query$
    select (j->>'id')::uuid, coalesce((j->>'user_id')::uuid, '00000000-0000-0000-0000-000000000000'), coalesce(j->>'job_type', 'unknown'),
           word.status,
           case when j->>'status' in ('queued', 'pending', 'processing', 'enhancing', 'generating', 'uploading', 'completed', 'failed', 'cancelled')
                then j->>'status' else 'other' end, word.status is null,
           coalesce(profile.age_verified, false), coalesce(plan.level, 0::smallint),
           at.created, coalesce((j->>'completed_at')::timestamptz, (j->>'updated_at')::timestamptz, at.created),
           coalesce((j->>'project_id')::uuid, video.project_id), video.id, image.id,
           left(trim(coalesce(project.enhanced_prompt, project.original_prompt, j->'metadata'->>'prompt')), 4000),
           case when jsonb_typeof(j->'metadata') = 'object' then j->'metadata' else '{}' end,
           j->>'error_message', j->>'format', j->>'quality', j->>'model_type', j->>'worker_type'
    from (select to_jsonb(o) as j from ourvidz.older_jobs as o) as older
    -- The legacy system's words for an end; any other word means that the job was waiting or running.
    left join (values ('completed', 'completed'), ('complete', 'completed'), ('succeeded', 'completed'), ('failed', 'failed'), ('error', 'failed'),
                      ('cancelled', 'cancelled'), ('canceled', 'cancelled')) as word (older, status) on word.older = lower(j->>'status')
    cross join lateral (select least(coalesce((j->>'created_at')::timestamptz, $1), $1) as created) as at
    left join lateral (select age_verified, subscription_status from public.profiles where id = (j->>'user_id')::uuid limit 1) as profile on true
    left join ourvidz.plan_words as said on said.word = profile.subscription_status
    left join ourvidz.plans as plan on plan.name = said.plan
    -- By key, however few rows there are. A reference to a deleted row is dropped.
    left join lateral (select id, project_id from public.videos where id = (j->>'video_id')::uuid limit 1) as video on true
    left join lateral (select id from public.images where id = (j->>'image_id')::uuid limit 1) as image on true
    left join lateral (select enhanced_prompt, original_prompt from public.projects
                       where id = coalesce((j->>'project_id')::uuid, video.project_id) limit 1) as project on true
  $query$ using p_now;
end
$_$;

ALTER FUNCTION ourvidz.legacy_jobs_read(p_now timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.legacy_request(p_user uuid, p_type text, p_metadata jsonb, p_prompt text) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_read jsonb;
begin
  if coalesce(p_prompt, '') = '' then
    return null;
  end if;
  v_read := ourvidz.normalise(jsonb_build_object('user_id', p_user, 'job_type', p_type, 'prompt', p_prompt, 'metadata', p_metadata), 'import');
  return v_read || jsonb_build_object('settings', jsonb_build_object('seed', floor(random() * 4294967296)::bigint) || (v_read->'settings'));
exception when sqlstate 'OV009' or sqlstate 'OV018' then
  return null;
end
$$;

ALTER FUNCTION ourvidz.legacy_request(p_user uuid, p_type text, p_metadata jsonb, p_prompt text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.library_follow(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_turned uuid[];  -- ended, or started again
  v_videos uuid[];
  v_new boolean;
begin
  select array_agg(e.job_id order by e.job_id) filter (where e.type in ('completed', 'failed', 'cancelled', 'retried')),
         coalesce(bool_or(e.type in ('submitted', 'imported', 'linked')), false)
  into v_turned, v_new from unnest(p_events) as e;
  if v_turned is not null then
    perform ourvidz.sync_images(v_turned);
    perform ourvidz.tests_follow(v_turned);
  end if;
  select array_agg(distinct j.video_id) into v_videos
  from unnest(p_events) as e cross join lateral (select video_id from public.jobs where id = e.job_id and video_id is not null limit 1) as j;
  if v_videos is not null then
    perform ourvidz.sync_videos(v_videos, v_new);
  end if;
exception when others then
  -- A trigger or check of the project's own that refuses a row must not block the job: its end stands, and the audit finds the row. Our own
  -- errors and those that pass by themselves (locks, timeouts, resources) undo the event as usual.
  if sqlstate ~ '^(OV|40|53|55|57|58|XX|PG)' then
    raise;
  end if;
  raise warning 'Rows of the library of jobs % were left as they are: %', v_turned, sqlerrm;
end
$$;

ALTER FUNCTION ourvidz.library_follow(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.library_title(p_metadata jsonb, p_prompt text, p_untitled text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when length(said) > 60 then left(said, 60) || '...' else said end
  from (select coalesce(nullif(trim(p_metadata->>'prompt'), ''), nullif(trim(p_metadata->>'original_prompt'), ''), nullif(p_prompt, ''),
                        p_untitled) as said) as it
$$;

ALTER FUNCTION ourvidz.library_title(p_metadata jsonb, p_prompt text, p_untitled text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.limit_said(p jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
  select case when jsonb_typeof(p) = 'array' then
    format('a %s from %s to %s', case jsonb_array_length(p) when 3 then 'whole number' else 'number' end, (p->>0)::float8, (p->>1)::float8)
  else 'one of ' || (select string_agg(case jsonb_typeof(one) when 'array' then format('%s×%s', one->>0, one->>1) else one #>> '{}' end, ', ')
                     from jsonb_array_elements(p->'in') as one) end
$$;

ALTER FUNCTION ourvidz.limit_said(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.limits_of(p_login name) RETURNS TABLE(setting text, wanted text, value text)
    LANGUAGE sql STABLE
    AS $$
  select w.setting, w.wanted, (
    select split_part(said, '=', 2) from pg_db_role_setting as s, unnest(s.setconfig) as said
    where s.setrole = l.oid and (s.setdatabase = 0 or s.setdatabase = (select oid from pg_database where datname = current_database()))
      and said like w.setting || '=%' order by s.setdatabase desc limit 1)
  from ourvidz.our_logins() as l
  cross join lateral ourvidz.as_settings(l.statement_s, l.lock_s, l.idle_s, l.work_mem_mb) as w
  where l.name = p_login
$$;

ALTER FUNCTION ourvidz.limits_of(p_login name) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.link(p_job uuid, p_image uuid, p_video uuid, p_actor text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, null);
  v_new constant jsonb := jsonb_strip_nulls(jsonb_build_object(
    'image_id', nullif(p_image, j.image_id), 'video_id', nullif(p_video, j.video_id)));
begin
  if p_image is not null and not exists (select from public.images where id = p_image and user_id = j.user_id and coalesce(job_id, j.id) = j.id) then
    perform ourvidz.refuse_missing('image', 'image_id');
  elsif p_video is not null and not exists (select from public.videos where id = p_video and user_id = j.user_id) then
    perform ourvidz.refuse_missing('video', 'video_id');
  elsif v_new = '{}' then
    return false;
  end if;
  perform ourvidz.append(array[p_job], 'linked', array[v_new], coalesce(p_actor, ourvidz.actor(j.user_id)));
  return true;
end
$$;

ALTER FUNCTION ourvidz.link(p_job uuid, p_image uuid, p_video uuid, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.live_follow(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.realtime_send(jsonb_build_object(
            'job_id', j.id, 'event', e.type, 'status', e.to_status, 'version', e.version, 'job_type', j.job_type, 'image_id', j.image_id,
            'video_id', j.video_id, 'generated', made.generated, 'uploaded', made.uploaded, 'total', coalesce(asked.total, 1)), 'jobs:' || j.user_id)
  from unnest(p_events) as e
  cross join lateral (select * from public.jobs where id = e.job_id limit 1) as j
  left join lateral (select (settings->>'images')::integer as total from public.job_payloads where job_id = e.job_id limit 1) as asked on true
  cross join lateral (
    select count(*) as generated, count(*) filter (where uploaded_at is not null) as uploaded
    from public.artifacts where job_id = e.job_id and kind <> 'thumbnail'
  ) as made
  where e.from_status is distinct from e.to_status or e.type in ('artifact_generated', 'artifact_uploaded', 'cancel_requested', 'linked');
exception when others then
  raise warning 'Realtime was not told: %', sqlerrm;
end
$$;

ALTER FUNCTION ourvidz.live_follow(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_at_version(p_job uuid, p_version integer) RETURNS public.jobs
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
begin
  select * into j from public.jobs where id = p_job for update;
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  elsif j.version <> p_version then
    raise exception 'Job % has moved on: it is % at version % now, not %.', p_job, j.status, j.version, p_version
      using errcode = 'OV007', hint = 'Look at it again, then decide.';
  end if;
  return j;
end
$$;

ALTER FUNCTION ourvidz.lock_at_version(p_job uuid, p_version integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_claims(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) RETURNS integer[]
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return (
    select coalesce(array_agg(held.n), '{}')
    -- In the order of ids: two batches lock in the same order and cannot deadlock.
    from (select * from unnest(p_jobs, p_claims, p_tokens) with ordinality as g (id, claim_no, token, n) order by id) as given
    -- One lookup per job, by key. The planner could reorder a join to scan all jobs and compute a token for each.
    cross join lateral (
      select given.n::integer from public.jobs as j
      where j.id = given.id and j.claim_no = given.claim_no
        and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = given.token
      limit 1 for update
    ) as held (n)
  );
end
$$;

ALTER FUNCTION ourvidz.lock_claims(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_names(p_kind text, p_names text[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from ourvidz.locks
  where kind = p_kind and slot = any (array(select hashtext(name) & 1023 from unnest(p_names) as name))
  order by slot for update;
end
$$;

ALTER FUNCTION ourvidz.lock_names(p_kind text, p_names text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_profiles(p_users uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from public.profiles where id = any (p_users) order by id for no key update;
end
$$;

ALTER FUNCTION ourvidz.lock_profiles(p_users uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_scene(p_video uuid) RETURNS public.videos
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_scene public.videos;
  v_caller record := ourvidz.caller();
begin
  if v_caller.role is not null and v_caller.role <> 'service_role' and v_caller.user_id is null then
    raise exception 'Nobody is signed in.' using errcode = 'OV017', hint = 'Send the user''s token.';
  end if;
  perform ourvidz.lock_names('scene', array[p_video::text]);
  select * into v_scene from public.videos
  where id = p_video and (user_id = v_caller.user_id or v_caller.admin or v_caller.role is null or v_caller.role = 'service_role');
  if not found then
    raise exception 'There is no scene %.', coalesce(p_video::text, '(none)') using errcode = 'OV018';
  end if;
  return v_scene;
end
$$;

ALTER FUNCTION ourvidz.lock_scene(p_video uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_user_submissions(p_user uuid) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ select ourvidz.lock_names('pace', array[p_user::text]) $$;

ALTER FUNCTION ourvidz.lock_user_submissions(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.lock_verified(p_users uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from public.profiles where id = any (p_users) and age_verified order by id for key share;
end
$$;

ALTER FUNCTION ourvidz.lock_verified(p_users uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.matches_kind(p_value jsonb, p_kind jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case jsonb_typeof(p_value)
    when 'array' then p_kind ? 'items' and not exists (
      select from jsonb_array_elements(p_value) as item where not ourvidz.scalar_matches_kind(item, p_kind->'items'))
    when 'object' then p_kind ? 'each' and not exists (
      select from jsonb_each(p_value) as part
      where not exists (select from jsonb_array_elements(p_kind->'each') as kind where ourvidz.scalar_matches_kind(part.value, kind)))
    else ourvidz.scalar_matches_kind(p_value, p_kind) end
$$;

ALTER FUNCTION ourvidz.matches_kind(p_value jsonb, p_kind jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.may_change_library(j public.jobs, p_type text, p_data jsonb) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select not j.hidden and case p_type
    when 'linked' then num_nonnulls(p_data->>'image_id', p_data->>'video_id') > 0
                       and (p_data->>'image_id' is null or j.image_id is null) and (p_data->>'video_id' is null or j.video_id is null)
    else coalesce(p_data->>'what' = 'output' or p_data->>'what' = 'job' and j.completed_at is not null, false) end
$$;

ALTER FUNCTION ourvidz.may_change_library(j public.jobs, p_type text, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.may_reroute(p_job_type text, p_data jsonb) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return exists (
    select from ourvidz.job_types as kind join ourvidz.job_types as fallback on fallback.name = kind.fallback
    where kind.name = p_job_type and fallback.name = p_data->>'job_type' and ourvidz.lane_of(fallback.family, '{}') = p_data->>'lane'
    union all
    select from ourvidz.job_types as kind
    where p_data->>'reason' = 'message' and kind.name = p_job_type and kind.name = p_data->>'job_type'
      and p_data->>'lane' in (ourvidz.lane_of(kind.family, '{}'), ourvidz.lane_of(kind.family, '{"references": {"style": "", "single": ""}}')));
end
$$;

ALTER FUNCTION ourvidz.may_reroute(p_job_type text, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.may_run(user_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$ select ourvidz.why_not_run(user_id) is null $$;

ALTER FUNCTION ourvidz.may_run(user_id uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.may_upload() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select (select count(*) from (
            select from storage.objects
            where bucket_id in (select name from ourvidz.buckets where uploads)
              and name ~>=~ (me.user_id::text || '/') and name ~<~ (me.user_id::text || '0')
            limit (select upload_objects from ourvidz.limits)) as theirs)
         < (select upload_objects from ourvidz.limits)
  from ourvidz.caller() as me
$$;

ALTER FUNCTION ourvidz.may_upload() OWNER TO ourvidz;

CREATE FUNCTION ourvidz.mirror_role(p_user uuid, p_role text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  delete from public.user_roles where user_id = p_user and role::text in ('admin', 'moderator') and role::text is distinct from p_role;
  insert into public.user_roles (user_id, role)
  select p_user, word.enumlabel::text::public.app_role
  from pg_enum as word
  where word.enumtypid = 'public.app_role'::regtype and word.enumlabel = p_role and exists (select from public.profiles where id = p_user)
  on conflict do nothing;
end
$$;

ALTER FUNCTION ourvidz.mirror_role(p_user uuid, p_role text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.moderated(p_type text, p_actor text, p_report uuid DEFAULT NULL::uuid, p_subject text DEFAULT NULL::text, p_user uuid DEFAULT NULL::uuid, p_appeal uuid DEFAULT NULL::uuid, p_reason text DEFAULT NULL::text) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  insert into ourvidz.moderation_events (at, type, actor, report_id, subject, user_id, appeal_id, reason)
  values (ourvidz.now(), p_type, p_actor, p_report, p_subject, p_user, p_appeal, p_reason)
$$;

ALTER FUNCTION ourvidz.moderated(p_type text, p_actor text, p_report uuid, p_subject text, p_user uuid, p_appeal uuid, p_reason text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.moderator() RETURNS text
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if not (select admin or role = 'service_role' from ourvidz.caller()) then
    raise exception 'Only an admin may do this.' using errcode = 'OV017';
  end if;
  return ourvidz.actor();
end
$$;

ALTER FUNCTION ourvidz.moderator() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.new_profile() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_name constant text := left(coalesce(nullif(trim(new.raw_user_meta_data->>'username'), ''), nullif(split_part(new.email, '@', 1), '')), 100);
begin
  insert into public.profiles (id, email, username) values (new.id, new.email, v_name) on conflict do nothing;
  if not found then
    insert into public.profiles (id, email, username) values (new.id, new.email, v_name || '_' || left(new.id::text, 8)) on conflict do nothing;
  end if;
  insert into public.user_roles (user_id, role) values (new.id, 'basic_user') on conflict do nothing;
  return null;
end
$$;

ALTER FUNCTION ourvidz.new_profile() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.newest_stage_job(v public.videos, p_final boolean) RETURNS TABLE(id uuid, began timestamp with time zone, seq bigint, shown text)
    LANGUAGE sql STABLE
    AS $$
  select j.id, begun.began, begun.seq,
         case when j.completed_at is null then step.status when ourvidz.ended_in_this_system(j.id) then
           -- A delivered film exists and is paid for, however its job ended.
           case when p_final and exists (select from ourvidz.stage_output(j.id, true)) then 'completed' else step.status end end
  from public.jobs as j
  join ourvidz.job_types as kind on kind.name = j.job_type and kind.video = p_final
  join ourvidz.scene_steps as step on step.stage = case when p_final then 'final' else 'preview' end and step.job_status = j.status
  join public.job_events as first on first.job_id = j.id and first.version = 1
  cross join lateral (
    select e.occurred_at as began, e.seq from public.job_events as e
    where e.job_id = j.id and e.type in ('submitted', 'imported', 'retried') order by e.version desc limit 1
  ) as begun
  where j.video_id = v.id and j.user_id = v.user_id and not j.hidden
  order by j.created_at desc, first.seq desc limit 1
$$;

ALTER FUNCTION ourvidz.newest_stage_job(v public.videos, p_final boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.newest_upload(p_user uuid, p_newer bigint) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select name from storage.objects where bucket_id = 'reference_images' and name ~>=~ (p_user::text || '/') and name ~<~ (p_user::text || '0')
  order by created_at desc, name desc offset p_newer limit 1
$$;

ALTER FUNCTION ourvidz.newest_upload(p_user uuid, p_newer bigint) OWNER TO ourvidz;

CREATE FUNCTION ourvidz.next_event(j public.jobs, p_type text, p_data jsonb, p_actor text, p_now timestamp with time zone) RETURNS TABLE(submitted_on date, job_id uuid, version integer, type text, from_status text, to_status text, claim_no bigint, actor text, occurred_at timestamp with time zone, data jsonb, prev_hash bytea, hash bytea)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select j.submitted_on, j.id, j.version + 1, p_type, j.status, next.status, next.claim_no, p_actor, next.at, p_data, j.head_hash,
         ourvidz.event_hash(j.head_hash, j.id, j.version + 1, p_type, j.status, next.status, next.claim_no, p_actor, next.at, p_data)
  from (
    select
      -- No such transition: events_apply will refuse it, and say so.
      coalesce((select t.target from ourvidz.transitions as t where t.event = p_type and t.source = j.status), j.status) as status,
      case when p_type = 'claimed' then j.claim_no + 1 when j.executor_id is not null then j.claim_no end as claim_no,
      -- A clock that steps back must not put an event before its predecessor: job_as_of walks by time.
      greatest(p_now, j.updated_at) as at
  ) as next
$$;

ALTER FUNCTION ourvidz.next_event(j public.jobs, p_type text, p_data jsonb, p_actor text, p_now timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.next_rank(p_user uuid, p_lane text, p_jobs bigint, OUT start double precision, OUT step double precision) RETURNS record
    LANGUAGE plpgsql
    SET enable_sort TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_virtual float8;
begin
  select 1.0 / coalesce(plan.weight, 1) into step
  from public.profiles as profile left join ourvidz.plan_words as said on said.word = profile.subscription_status
  left join ourvidz.plans as plan on plan.name = said.plan
  where profile.id = p_user for no key update of profile;
  v_virtual := ourvidz.virtual_time(p_lane);
  insert into ourvidz.shares as share (user_id, lane, finish)
  values (p_user, p_lane, v_virtual + p_jobs * step)
  on conflict (user_id, lane) do update set finish = greatest(share.finish, v_virtual) + p_jobs * step
  returning share.finish - p_jobs * step into start;
end
$$;

ALTER FUNCTION ourvidz.next_rank(p_user uuid, p_lane text, p_jobs bigint, OUT start double precision, OUT step double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.next_xid_offset() RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_seen constant bigint := greatest(ourvidz.event_xid(), (select e.xid from public.job_events as e order by e.xid desc limit 1))::text::bigint;
begin
  return ((v_seen >> 40) + 1 << 40) - pg_current_xact_id()::text::bigint;
end
$$;

ALTER FUNCTION ourvidz.next_xid_offset() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.normalise(request jsonb, source text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  a constant ourvidz.asked_job := (ourvidz.normalise_requests(jsonb_build_array(request), source))[1];
  v_kind constant ourvidz.job_types := ourvidz.kind_of(a.job_type);
begin
  perform ourvidz.check_references_and_settings(a, v_kind);
  return to_jsonb(a) - '{ord,body_digest,source}'::text[] || jsonb_build_object(
    'set_aside', coalesce(a.set_aside, '[]'), 'price', ourvidz.price_of(a.job_type, a.settings),
    'references', coalesce(a.settings->'references', '{}'));
end
$$;

ALTER FUNCTION ourvidz.normalise(request jsonb, source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.normalise_requests(p_jobs jsonb, p_source text) RETURNS ourvidz.asked_job[]
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_requests ourvidz.request[];
  v_different ourvidz.request[];
  v_first bigint[];  -- per request: the first one with the same content
begin
  perform ourvidz.check_request(given.j, p_source in ('rpc', 'row')) from jsonb_array_elements(p_jobs) as given (j) where given.j ?| '{config,metadata,settings}';
  v_requests := ourvidz.read_requests(p_jobs, p_source);
  -- A batch repeats the same request many times: settings are read once for each different request, from its first occurrence.
  select array_agg(first.ord order by each.ord) into v_first
  from (select min(r.ord) as ord, array_agg(r.ord) as ords from unnest(v_requests) as r
        group by r.user_id, r.job_type, r.asked_type, r.config, r.metadata, r.settings) as first
  cross join lateral unnest(first.ords) as each (ord);
  select array_agg(r) into v_different from unnest(v_requests) as r where r.ord = v_first[r.ord];
  return (
    with meant as materialized (
      select d.ord, its.chosen, its.aside, kind.family, kind.fast,
             ourvidz.complete_settings(kind, its.chosen - '{compel_enabled,compel_weights}'::text[]) as whole
      from unnest(v_different) as d
      left join (select * from ourvidz.read_settings(v_different) offset 0) as its on its.ord = d.ord
      left join ourvidz.job_types as kind on kind.name = d.job_type
    )
    select array_agg(row(r.ord, coalesce(r.id, gen_random_uuid()), r.user_id, r.job_type, ourvidz.lane_of(m.family, m.whole),
                         r.idempotency_key, coalesce(plan.level, 0) * 2 + m.fast::integer, r.run_at,
                         case when m.chosen ? 'compel_weights' then ourvidz.weighted_prompt(said.prompt, m.chosen) else said.prompt end,
                         nullif(trim(coalesce(r.negative_prompt, r.metadata->>'negative_prompt', r.metadata->>'negativePrompt')), ''),
                         m.whole, r.metadata, r.project_id, r.video_id, r.image_id, r.body_digest, m.aside, p_source, m.chosen
                         )::ourvidz.asked_job order by r.ord)
    from unnest(v_requests) as r
    left join meant as m on m.ord = v_first[r.ord]
    -- By key, however few rows there are.
    left join lateral (select subscription_status from public.profiles where id = r.user_id limit 1) as profile on true
    left join ourvidz.plan_words as word on word.word = profile.subscription_status
    left join ourvidz.plans as plan on plan.name = word.plan
    left join lateral (select enhanced_prompt, original_prompt from public.projects
                       where id = r.project_id and user_id = r.user_id limit 1) as project on true
    cross join lateral (select trim(coalesce(r.prompt, nullif(trim(project.enhanced_prompt), ''), nullif(trim(project.original_prompt), ''),
      case jsonb_typeof(r.metadata->'prompt') when 'string' then r.metadata->>'prompt' end)) as prompt) as said);
end
$$;

ALTER FUNCTION ourvidz.normalise_requests(p_jobs jsonb, p_source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.now() RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    AS $$ select clock_timestamp() $$;

ALTER FUNCTION ourvidz.now() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.objects_of(p_subject text) RETURNS TABLE(bucket text, path text, user_id uuid)
    LANGUAGE sql STABLE
    AS $$
  -- The row by its key, then its artifacts: for a join Postgres could read the whole index of job ids (0052, rule 6).
  select a.bucket, a.path, t.user_id from (select * from ourvidz.takedowns where subject = p_subject limit 1) as t
  join public.artifacts as a on a.job_id = t.job_id and a.kind in (t.kind, 'thumbnail') and a.index = t.index
  union
  select o.bucket, o.path, t.user_id from ourvidz.takedowns as t
  cross join lateral (select to_jsonb(i) as row from public.images as i where i.id = t.row_id and t.kind = 'image'
                      union all select to_jsonb(v) from public.videos as v where v.id = t.row_id and t.kind = 'video') as shown
  cross join lateral ourvidz.row_objects(shown.row) as o where t.subject = p_subject
$$;

ALTER FUNCTION ourvidz.objects_of(p_subject text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.oldest_served() RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select 88 $$;

ALTER FUNCTION ourvidz.oldest_served() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.on_device(p_executor uuid) RETURNS uuid[]
    LANGUAGE sql STABLE
    AS $$
  select coalesce(array_agg(id) filter (where place = 1 and status in ('enhancing', 'generating')), '{}')
  from (
    select j.id, j.status, rank() over (order by last.begun desc) as place
    from public.jobs as j
    cross join lateral (
      -- By transaction id: two events may have the same time, but one transaction has only the events of one statement.
      select e.xid as begun from public.job_events as e
      where e.submitted_on = j.submitted_on and e.job_id = j.id and e.claim_no = j.claim_no
        and e.type in ('enhancement_started', 'generation_started')
        and e.data->'on_device' is distinct from 'false'  -- false: run by the enhancer's own process, with another job on the device
      order by e.version desc limit 1
    ) as last
    where j.executor_id = p_executor
  ) as held
$$;

ALTER FUNCTION ourvidz.on_device(p_executor uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.on_hold() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select exists (select from ourvidz.legal_holds as h, ourvidz.caller() as me where h.user_id = me.user_id and h.lifted_at is null)
$$;

ALTER FUNCTION ourvidz.on_hold() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.operates() RETURNS boolean
    LANGUAGE sql STABLE
    AS $$ select pg_has_role(session_user, 'ourvidz_owner', 'usage') $$;

ALTER FUNCTION ourvidz.operates() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.origins(p_user uuid, p_sha256 text) RETURNS TABLE(user_id uuid, sha256 text)
    LANGUAGE sql STABLE
    AS $$
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

ALTER FUNCTION ourvidz.origins(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.other_columns() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select '{ready,format,quality,model_type,worker_type,metadata,error_message}'::text[] $$;

ALTER FUNCTION ourvidz.other_columns() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.our_functions() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select '{queue_job,job_types,cancel_job,retry_job,approve_preview,job_status,attest_consent,withdraw_consent,ask_enhancement,enhancement,age_status,request_age_review,verify_age,age_message,report_refusal,read_prompt,before_request,request_bytes,has_role,file_report,my_restrictions,appeal,report_queue,moderate}'::text[] $$;

ALTER FUNCTION ourvidz.our_functions() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.our_logins() RETURNS TABLE(oid oid, name name, roles name[], statement_s integer, lock_s integer, idle_s integer, transaction_s integer, work_mem_mb integer, connections integer)
    LANGUAGE sql STABLE
    AS $$
  select r.oid, r.rolname, array_agg(l.name order by l.name), min(l.statement_s), min(l.lock_s), min(l.idle_s), min(l.transaction_s),
         min(l.work_mem_mb), max(l.connections)
  from ourvidz.role_limits as l join pg_roles as g on g.rolname = l.name
  join pg_roles as r on r.rolcanlogin and not r.rolsuper and pg_has_role(r.oid, g.oid, 'member')
  where l.connections is not null and not pg_has_role(r.oid, 'ourvidz_owner', 'member')
  group by r.oid, r.rolname
$$;

ALTER FUNCTION ourvidz.our_logins() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.our_relations() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select '{profiles,user_roles,characters,projects,scenes,videos,images,jobs,job_payloads,job_events,artifacts,usage_logs,consents,
           model_test_results,system_config,user_activity_log,job_timeline,queue_depth,job_durations}'::text[]
$$;

ALTER FUNCTION ourvidz.our_relations() OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.outbox (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    receiver text NOT NULL,
    job_id uuid NOT NULL,
    job_version integer NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone NOT NULL,
    delivered_at timestamp with time zone,
    dead_at timestamp with time zone,
    last_status integer,
    last_error text,
    CONSTRAINT outbox_check CHECK (((delivered_at IS NULL) OR (dead_at IS NULL))),
    CONSTRAINT outbox_status_check CHECK ((status = ANY (ARRAY['processing'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
);

ALTER TABLE ourvidz.outbox OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_body(o ourvidz.outbox) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select jsonb_strip_nulls(jsonb_build_object(
    'job_id', o.job_id,
    'status', case o.status when 'cancelled' then 'failed' else o.status end,
    'assets', case when 'assets' = any (r.fields) then coalesce(made.assets, '[]') else '[]' end,
    'error_message', case o.status
      when 'cancelled' then 'cancelled'
      when 'failed' then coalesce(case when 'error_message' = any (r.fields) then p.error_message end, e.data->>'class', 'failed') end,
    'enhancedPrompt', case when o.status <> 'processing' and 'enhancedPrompt' = any (r.fields) then p.enhanced_prompt end,
    'metadata', jsonb_build_object(
      'version', o.job_version, 'occurred_at', e.occurred_at, 'true_status', e.to_status, 'error_class', e.data->>'class') || (
    select coalesce(jsonb_object_agg(told.key, told.value), '{}') from jsonb_each(jsonb_build_object(
      'job_type', j.job_type, 'bucket', coalesce(made.bucket, j.job_type), 'user_id', j.user_id,
      'project_id', j.project_id, 'video_id', j.video_id, 'image_id', j.image_id,
      'seed', p.settings->'seed', 'seeds', made.seeds, 'num_images', made.images, 'thumbnails', made.thumbnails,
      'generation_time', case when o.status = 'completed' then ourvidz.generation_seconds(j.id, o.job_version) end)) as told
    where told.key = any (r.fields))))
  from public.jobs as j
  join ourvidz.receivers as r on r.name = o.receiver
  join public.job_events as e on e.job_id = j.id and e.version = o.job_version
  left join public.job_payloads as p on p.job_id = j.id
  left join lateral (
    select jsonb_agg(a.path order by a.index) filter (where a.kind <> 'thumbnail') as assets,
           jsonb_agg(a.seed order by a.index) filter (where a.kind <> 'thumbnail') as seeds,
           jsonb_agg(a.bucket || '/' || a.path order by a.index) filter (where a.kind = 'thumbnail') as thumbnails,
           nullif(count(*) filter (where a.kind = 'image'), 0) as images,
           min(a.bucket) filter (where a.kind <> 'thumbnail') as bucket
    from public.artifacts as a where a.job_id = j.id and a.uploaded_at is not null and a.deleted_at is null and o.status <> 'processing'
  ) as made on true
  where j.id = o.job_id
$$;

ALTER FUNCTION ourvidz.outbox_body(o ourvidz.outbox) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_delays() RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select '{5,30,120,600,1800,3600,10800,21600,43200}'::double precision[] $$;

ALTER FUNCTION ourvidz.outbox_delays() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_due() RETURNS TABLE(receiver text, url text, secret_env text, messages bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  perform ourvidz.refuse_copy();
  return query
  select r.name, r.url, r.secret_env, waiting.messages
  from ourvidz.receivers as r
  cross join lateral (
    select count(*) as messages
    from (select from ourvidz.outbox as o
          where o.receiver = r.name and o.delivered_at is null and o.dead_at is null and o.next_at <= v_now limit 1000) as counted
  ) as waiting
  where r.enabled and waiting.messages > 0;
end
$$;

ALTER FUNCTION ourvidz.outbox_due() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_follow(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into ourvidz.outbox (receiver, job_id, job_version, status, created_at, next_at)
  select r.name, told.job_id, told.version, told.word, told.occurred_at, told.occurred_at
  from (select e.job_id, e.version, e.occurred_at,
               case when e.type in ('completed', 'failed', 'cancelled') then e.type
                    when e.from_status = 'queued' and e.to_status in ('enhancing', 'generating') then 'processing' end as word
        from unnest(p_events) as e) as told
  join ourvidz.receivers as r on r.enabled and told.word = any (r.events);
end
$$;

ALTER FUNCTION ourvidz.outbox_follow(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_prune() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_count integer;
begin
  delete from ourvidz.outbox
  where id = any (array(  -- as in promote
    select id from ourvidz.outbox
    where coalesce(delivered_at, dead_at) < v_now - interval '30 days' and (delivered_at is not null or dead_at < v_now - interval '90 days')
    limit 10000 for update skip locked));
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

ALTER FUNCTION ourvidz.outbox_prune() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_redeliver(p_messages uuid[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_count integer;
begin
  update ourvidz.outbox set delivered_at = null, dead_at = null, attempts = 0, next_at = ourvidz.now() where id = any (p_messages);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

ALTER FUNCTION ourvidz.outbox_redeliver(p_messages uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_sent(p_message uuid, p_status integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_receiver text;
begin
  update ourvidz.outbox
  set delivered_at = ourvidz.now(), dead_at = null, attempts = attempts + 1, last_status = p_status, last_error = null
  where id = p_message and delivered_at is null
  returning receiver into v_receiver;
  update ourvidz.receivers set exhausted = 0 where name = v_receiver and exhausted > 0;
end
$$;

ALTER FUNCTION ourvidz.outbox_sent(p_message uuid, p_status integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_take(p_receiver text, p_lease double precision) RETURNS TABLE(id uuid, attempts integer, url text, secret_env text, taken_at timestamp with time zone, body jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  perform ourvidz.refuse_copy();
  return query
  with due as materialized (
    select o.id
    from ourvidz.outbox as o
    where o.receiver = p_receiver and o.delivered_at is null and o.dead_at is null and o.next_at <= v_now
      and exists (select from ourvidz.receivers as r where r.name = p_receiver and r.enabled)
    order by o.next_at, o.id limit 1 for update skip locked
  ), taken as (
    update ourvidz.outbox as o set next_at = v_now + make_interval(secs => p_lease) from due where o.id = any (array[due.id]) returning o.*
  )
  select t.id, t.attempts, r.url, r.secret_env, v_now, ourvidz.outbox_body(t)
  from taken as t join ourvidz.receivers as r on r.name = t.receiver;
end
$$;

ALTER FUNCTION ourvidz.outbox_take(p_receiver text, p_lease double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outbox_unsent(p_message uuid, p_attempts integer, p_status integer, p_error text, p_wait double precision) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_delay constant double precision := (ourvidz.outbox_delays())[p_attempts + 1];
  v_gone constant boolean := coalesce(p_status = 410, false);
  v_dead constant boolean := v_gone or v_delay is null;
  v_receiver text;
begin
  update ourvidz.outbox
  set attempts = attempts + 1, last_status = p_status, last_error = left(p_error, 300),
      dead_at = case when v_dead then v_now end,
      -- Jitter both ways. The receiver's wait is honoured, up to an hour.
      next_at = v_now + make_interval(secs => greatest(coalesce(v_delay, 0) * (0.85 + 0.3 * random()), least(coalesce(p_wait, 0), 3600)))
  where id = p_message and attempts = p_attempts and delivered_at is null and dead_at is null
  returning receiver into v_receiver;
  if not found then
    return 'overtaken';
  elsif not v_dead then
    return 'retry';
  end if;
  update ourvidz.receivers
  set exhausted = exhausted + (not v_gone)::integer,
      enabled = enabled and not v_gone and exhausted + 1 < 5,
      disabled_at = case when v_gone or exhausted + 1 >= 5 then coalesce(disabled_at, v_now) else disabled_at end,
      disabled_reason = case when not enabled then disabled_reason
                             when v_gone then 'it answered 410 Gone'
                             when exhausted + 1 >= 5 then format('%s messages in a row could not be delivered', exhausted + 1)
                             else disabled_reason end
  where name = v_receiver;
  return 'dead';
end
$$;

ALTER FUNCTION ourvidz.outbox_unsent(p_message uuid, p_attempts integer, p_status integer, p_error text, p_wait double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.output_act(p_named text, p_verb text, p_actor text, p_cause text) RETURNS ourvidz.takedowns
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row ourvidz.takedowns := ourvidz.takedown_of(ourvidz.output_of(p_named));
begin
  if v_row.subject is null then
    raise exception 'There is no such output.' using errcode = 'OV018', column = 'output';
  elsif p_verb = 'block' then
    perform ourvidz.block_output(v_row.subject, p_actor, p_cause, null);
  elsif p_verb in ('hide', 'restore') then
    perform ourvidz.takedown(v_row.subject, case p_verb when 'hide' then 'hidden' else 'restored' end, p_actor, p_cause);
  else
    raise exception 'An output can be hidden, restored or blocked.' using errcode = 'OV009', column = 'verb';
  end if;
  select * into v_row from ourvidz.takedowns where subject = v_row.subject;
  return v_row;
end
$$;

ALTER FUNCTION ourvidz.output_act(p_named text, p_verb text, p_actor text, p_cause text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.output_of(p_named text) RETURNS ourvidz.takedowns
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_parts constant text[] := regexp_match(lower(p_named), '([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:[.]([0-9]{1,3}))?(?![0-9a-f-])');
  v_id constant uuid := v_parts[1];
  v_index constant integer := coalesce(v_parts[2]::integer, 0);
  v_found ourvidz.takedowns;
begin
  if v_id is null then
    return null;
  end if;
  select o.* into v_found from public.artifacts as a cross join lateral ourvidz.output_subject(a) as o
  where a.job_id = v_id and a.kind in ('image', 'video') and a.index = v_index;
  if v_found.subject is null then
    select o.* into v_found
    from (select job_id, 'image' as kind, coalesce(image_index, 0) as index from public.images where id = v_id
          union all select video_job_id, 'video', 0 from public.videos where id = v_id) as shown
    join public.artifacts as a on a.job_id = any (array[shown.job_id]) and a.kind = any (array[shown.kind]) and a.index = any (array[shown.index])
    cross join lateral ourvidz.output_subject(a) as o;
  end if;
  if v_found.subject is null then  -- of the legacy system, which has no artifacts
    select older.user_id, older.kind, 0, v_id into v_found.user_id, v_found.kind, v_found.index, v_found.row_id
    from (select user_id, 'image' as kind from public.images where id = v_id
          union all select user_id, 'video' from public.videos where id = v_id) as older;
    v_found.subject := v_found.kind || ':' || v_id;
  end if;
  return v_found;
end
$$;

ALTER FUNCTION ourvidz.output_of(p_named text) OWNER TO ourvidz_owner;

CREATE TABLE public.artifacts (
    job_id uuid NOT NULL,
    index smallint NOT NULL,
    kind text NOT NULL,
    claim_no bigint NOT NULL,
    seed bigint,
    bucket text NOT NULL,
    path text NOT NULL,
    media_type text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    frames integer,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    spool text,
    uploaded_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    deleted_at timestamp with time zone,
    gone_at timestamp with time zone,
    taken_down boolean DEFAULT false NOT NULL,
    pdq bit(256)[],
    CONSTRAINT artifacts_bytes_check CHECK ((bytes > 0)),
    CONSTRAINT artifacts_index_check CHECK ((index >= 0)),
    CONSTRAINT artifacts_kind_check CHECK ((kind = ANY (ARRAY['image'::text, 'video'::text, 'thumbnail'::text]))),
    CONSTRAINT artifacts_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text))
);

ALTER TABLE public.artifacts OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.artifacts.deleted_at IS 'When its owner deleted it (event removed). The object goes soon after; the row stays, for the figures.';

COMMENT ON COLUMN public.artifacts.gone_at IS 'When the object of a deleted output was gone from its bucket.';

COMMENT ON COLUMN public.artifacts.pdq IS 'Perceptual hashes of the picture, or of a clip''s sampled frames (ourvidz.safety.perceptual).';

CREATE FUNCTION ourvidz.output_subject(a public.artifacts) RETURNS ourvidz.takedowns
    LANGUAGE sql STABLE
    AS $$
  select row(format('output:%s:%s:%s', a.job_id, a.kind, a.index), j.user_id, a.job_id, a.kind, a.index, null, 'reported', false, null,
             ourvidz.now())::ourvidz.takedowns
  from public.jobs as j where j.id = a.job_id
$$;

ALTER FUNCTION ourvidz.output_subject(a public.artifacts) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.outputs_asked(p_job uuid) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$ select coalesce((select (settings->>'images')::bigint from public.job_payloads where job_id = p_job), 1) $$;

ALTER FUNCTION ourvidz.outputs_asked(p_job uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.pdq_of(p_hex text) RETURNS bit
    LANGUAGE sql IMMUTABLE
    AS $$ select ('x' || p_hex)::bit(256) $$;

ALTER FUNCTION ourvidz.pdq_of(p_hex text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.pictures_of(j public.jobs) RETURNS TABLE(index integer, title text, prompt text, enhanced_prompt text, image_url text, thumbnail_url text, quality text, bytes bigint, metadata jsonb)
    LANGUAGE sql STABLE
    AS $$
  select a.index, it.title || case when it.total > 1 then format(' (%s)', a.index + 1) else '' end, it.prompt, it.enhanced_prompt, a.path, small.path,
         it.quality, a.bytes,
         it.metadata || jsonb_strip_nulls(jsonb_build_object('bucket', a.bucket, 'thumbnail_bucket', small.bucket, 'seed', a.seed,
                                                             'image_index', a.index, 'report', ourvidz.report_link(j.id, a.index), 'width', a.width, 'height', a.height))
  from (
    select asked.total, coalesce(p.prompt, '') as prompt, p.enhanced_prompt, coalesce(j.quality, case when kind.fast then 'fast' else 'high' end) as quality,
           ourvidz.library_title(said.metadata, p.prompt, 'Untitled Image') as title,
           said.metadata || jsonb_strip_nulls(jsonb_build_object(
             'model_type', kind.family, 'is_sdxl', kind.family = 'sdxl', 'is_enhanced', kind.enhance, 'prompt', p.prompt,
             'total_images', asked.total, 'job_type', j.job_type, 'original_job_id', j.id,
             'generation_time', ourvidz.generation_seconds(j.id, j.version))) as metadata
    from ourvidz.job_types as kind
    left join public.job_payloads as p on p.job_id = j.id
    cross join lateral (select coalesce(j.metadata, p.metadata, '{}') - '{primary_asset,all_assets}'::text[] as metadata) as said
    cross join lateral (select coalesce((p.settings->>'images')::integer, 1) as total) as asked
    where kind.name = j.job_type
    offset 0  -- once per job, not once per picture
  ) as it
  join public.artifacts as a on a.job_id = j.id and a.kind = 'image' and a.uploaded_at is not null and a.deleted_at is null
    and (j.completed_at is not null or exists (
      select from public.job_events as e where e.job_id = j.id and e.type in ('failed', 'cancelled') and e.occurred_at >= a.uploaded_at))
  left join public.artifacts as small on small.job_id = j.id and small.kind = 'thumbnail' and small.index = a.index
$$;

ALTER FUNCTION ourvidz.pictures_of(j public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.place_of(p_lane text, p_type text, p_rank double precision, p_run_at timestamp with time zone, OUT n bigint, OUT eta double precision) RETURNS record
    LANGUAGE sql STABLE
    AS $$
  with hands as (
    select count(*) as live from ourvidz.executors where state = 'active' and p_lane = any (lanes) and lease_until > ourvidz.now()
  ), typical as materialized (
    select * from ourvidz.typical_seconds()
  ), before as (
    select o.job_type, count(*) as jobs
    from (select job_type from public.jobs where ready and lane = p_lane and (rank, run_at) < (p_rank, p_run_at) limit 10000) as o
    group by o.job_type
  ), sums as (
    select coalesce(sum(b.jobs), 0)::bigint as jobs, coalesce(sum(b.jobs * t.seconds), 0) as seconds
    from before as b left join typical as t on t.job_type = b.job_type
  )
  select sums.jobs + 1, case when hands.live > 0 then sums.seconds / hands.live + (select seconds from typical where job_type = p_type) end
  from sums, hands
$$;

ALTER FUNCTION ourvidz.place_of(p_lane text, p_type text, p_rank double precision, p_run_at timestamp with time zone, OUT n bigint, OUT eta double precision) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.plans (
    name text NOT NULL,
    level smallint NOT NULL,
    weight integer NOT NULL,
    unfinished integer NOT NULL,
    submits_per_minute integer NOT NULL
);

ALTER TABLE ourvidz.plans OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.plan_of(p_user uuid) RETURNS ourvidz.plans
    LANGUAGE sql STABLE
    AS $$
  select plan from ourvidz.plans as plan
  where plan.name = coalesce((select w.plan from public.profiles as p join ourvidz.plan_words as w on w.word = p.subscription_status
                              where p.id = p_user), 'free')
$$;

ALTER FUNCTION ourvidz.plan_of(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.price_of(p_type text, p_settings jsonb) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$ select price::bigint * coalesce((p_settings->>'images')::bigint, 1) from ourvidz.job_types where name = p_type $$;

ALTER FUNCTION ourvidz.price_of(p_type text, p_settings jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.price_without_enhancement(k ourvidz.job_types) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$
  select coalesce(max(p.price), k.price)::bigint from ourvidz.job_types as p
  where k.enhance and not p.enhance and not p.init_image and (p.family, p.video, p.fast) = (k.family, k.video, k.fast) and p.price < k.price
$$;

ALTER FUNCTION ourvidz.price_without_enhancement(k ourvidz.job_types) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.priority_offset(priority integer) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select (7 - priority) * 0.1::float8 $$;

ALTER FUNCTION ourvidz.priority_offset(priority integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.profile_lock(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from public.profiles where id = p_user for update;
  if not found then
    raise exception 'There is no profile %.', coalesce(p_user::text, '(none)') using errcode = 'OV018', column = 'user_id';
  end if;
end
$$;

ALTER FUNCTION ourvidz.profile_lock(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.promote(p_limit integer DEFAULT 200) RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_rows bigint := 0;
begin
  -- The soonest job, in the order of the index: for "is any due?" the planner may prefer to scan the whole table.
  if (select run_at from public.jobs where not ready order by run_at limit 1) <= v_now then
    update public.jobs set ready = true
    -- An array is evaluated once; a subquery with a limit may be evaluated again for each row of the table.
    where id = any (array(select id from public.jobs where not ready and run_at <= v_now order by run_at limit p_limit
                          for update skip locked));
    get diagnostics v_rows = row_count;
  end if;
  return v_rows;
end
$$;

ALTER FUNCTION ourvidz.promote(p_limit integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.quarantine_lease(p_limit integer, p_lease double precision) RETURNS TABLE(bucket text, path text, away boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  v_due record;
begin
  perform ourvidz.refuse_copy();
  for v_due in
    select t.bucket, t.path from ourvidz.taken_objects as t
    where (t.down or t.suspended) <> t.moved and t.next_at <= (select ourvidz.now())  -- as in removals_lease
    order by t.next_at limit p_limit for update skip locked
  loop
    return query
      update ourvidz.taken_objects as t
      set tries = t.tries + 1, next_at = ourvidz.now() + make_interval(secs => greatest(p_lease, least(3600, 30 * 2 ^ least(t.tries, 7))))
      where (t.bucket, t.path) = (v_due.bucket, v_due.path)
      returning t.bucket, t.path, t.down or t.suspended;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.quarantine_lease(p_limit integer, p_lease double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.quarantine_moved(p_buckets text[], p_paths text[], p_away boolean[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_moved record;
begin
  for v_moved in select * from unnest(p_buckets, p_paths, p_away) as g (bucket, path, away) loop
    update ourvidz.taken_objects as t set moved = v_moved.away, tries = 0, next_at = ourvidz.now()
    where (t.bucket, t.path) = (v_moved.bucket, v_moved.path);
    delete from ourvidz.taken_objects as t
    where (t.bucket, t.path) = (v_moved.bucket, v_moved.path) and not t.down and not t.suspended and not t.moved;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.quarantine_moved(p_buckets text[], p_paths text[], p_away boolean[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.queue_position(j public.jobs, OUT n bigint, OUT eta double precision) RETURNS record
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if j.ready then
    select p.n, p.eta into n, eta from ourvidz.place_of(j.lane, j.job_type, j.rank, j.run_at) as p;
  elsif j.claimed_at is not null and j.completed_at is null and ourvidz.lane_served(j.lane, ourvidz.now()) then
    select greatest(t.seconds - extract(epoch from ourvidz.now() - j.claimed_at), 1) into eta
    from ourvidz.typical_seconds() as t where t.job_type = j.job_type;
  end if;
end
$$;

ALTER FUNCTION ourvidz.queue_position(j public.jobs, OUT n bigint, OUT eta double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_frames(p jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
  select case when jsonb_typeof(p->'frames') = 'number' and scale((p->>'frames')::numeric) = 0 and (p->>'frames')::numeric between 1 and 161
              then p || jsonb_build_object('frames_asked', p->'frames', 'frames', ((p->>'frames')::integer - 1) / 4 * 4 + 1) else p end
$$;

ALTER FUNCTION ourvidz.read_frames(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_message(p jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
  select jsonb_strip_nulls(jsonb_build_object(
    'id', coalesce(p->'id', p->'jobId'), 'job_type', coalesce(p->'type', p->'jobType'), 'user_id', coalesce(p->'user_id', p->'userId'),
    'prompt', p->'prompt', 'negative_prompt', p->'negative_prompt', 'project_id', coalesce(p->'project_id', p->'projectId'),
    'video_id', coalesce(p->'video_id', p->'videoId'), 'image_id', coalesce(p->'image_id', p->'imageId'),
    'character_id', coalesce(p->'character_id', p->'characterId')))
    || jsonb_build_object('config', p->'config', 'metadata', coalesce(nullif(p->'metadata', 'null'), '{}')
      || jsonb_strip_nulls(jsonb_build_object('compel_enabled', p->'compel_enabled', 'compel_weights', p->'compel_weights')))
$$;

ALTER FUNCTION ourvidz.read_message(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_names(p_requests ourvidz.request[]) RETURNS TABLE(ord bigint, user_id uuid, layer integer, rank integer, name text, setting text, value jsonb, reason text)
    LANGUAGE sql STABLE
    AS $$
  with said as (
    select r.ord, r.user_id, r.job_type, k.family, l.layer, each.key as name,
           case when each.key = 'sampler_name' then coalesce(spaced.name, each.value) else each.value end as value,
           -- The one picture that a legacy sender gives to an img2img job is its init image.
           k.init_image and each.key in ('reference_url', 'reference_image_url', 'image') and not l.said ?| '{init_image,init_image_url}' as starts
    from unnest(p_requests) as r
    join ourvidz.job_types as k on k.name = r.job_type
    cross join lateral (values (1, r.metadata), (2, r.config), (3, r.settings - 'references')) as l (layer, said)
    cross join lateral (select case when l.said ? 'sampler_name' then ourvidz.sampler_with_schedule(k.limits->'scheduler', l.said) end) as spaced (name)
    cross join lateral jsonb_each(l.said) as each
    where l.said <> '{}' and each.value <> 'null' and (each.key <> 'scheduler' or spaced.name is null)
    union all
    select r.ord, r.user_id, r.job_type, k.family, 3, 'references.' || each.key, each.value, false
    from unnest(p_requests) as r
    join ourvidz.job_types as k on k.name = r.job_type
    cross join lateral jsonb_each(r.settings->'references') as each
    where r.settings ? 'references' and each.value <> 'null'
  ), meant as materialized (
    select s.ord, s.user_id, s.job_type, s.layer, w.n as rank, s.name,
           case when w.setting in ('scheduler', 'sampler')
             then ourvidz.canonical_sampler((select k.limits->w.setting from ourvidz.job_types as k where k.name = s.job_type), s.value)
             else s.value end as value,
           case when s.starts then 'references.init' else coalesce(w.setting, 'unknown') end as setting
    from said as s left join ourvidz.wire_names as w on w.name = s.name and w.family = s.family
    where case s.layer when 1 then w.setting not in ('ignored', 'task') else w.setting is distinct from 'ignored' end
  ), present as (
    select m.ord, array_agg(m.name) || array_agg(m.setting) as names from meant as m group by m.ord
  )
  select m.ord, m.user_id, m.layer, m.rank, m.name, m.setting, m.value,
         case when m.setting in ('unknown', 'other_family') then m.setting
              when (rule.names = '{}' or m.name = any (rule.names))
               and (rule.only_values is null or rule.only_values @> jsonb_build_array(m.value))
               and (rule.beside = '{}' or rule.beside && present.names)
               and (rule.without = '{}' or not rule.without && present.names) then rule.reason end
  from meant as m
  join present on present.ord = m.ord
  left join ourvidz.set_aside_rules as rule on rule.job_type = m.job_type and rule.setting = m.setting
$$;

ALTER FUNCTION ourvidz.read_names(p_requests ourvidz.request[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_reference(p_user uuid, p_value jsonb, p_newer bigint DEFAULT 0) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_said constant text := p_value #>> '{}';
  v_own constant text := p_user::text || '/';
  v_parts text[];
begin
  if jsonb_typeof(p_value) <> 'string' then
    return p_value;
  elsif v_said like 'blob:%' then
    return to_jsonb('reference_images/' || ourvidz.newest_upload(p_user, p_newer));
  elsif starts_with(v_said, v_own) then
    return to_jsonb('reference_images/' || v_said);
  end if;
  v_parts := regexp_match(v_said, '^https?://[^/?#]+/storage/v1/(?:object|render/image)/(?:sign|authenticated|public)/([^/?#]+)/([^?#]+)');
  if v_parts is not null then
    v_parts[2] := ourvidz.url_decoded(v_parts[2]);
    -- Another user's object, whoever signed it, is refused by check_owned like any other address of theirs.
    if starts_with(v_parts[2], v_own) or v_parts[2] ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/' then
      return to_jsonb(v_parts[1] || '/' || v_parts[2]);
    end if;
  end if;
  return p_value;
end
$$;

ALTER FUNCTION ourvidz.read_reference(p_user uuid, p_value jsonb, p_newer bigint) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_requests(p_jobs jsonb, p_source text) RETURNS ourvidz.request[]
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return (select array_agg(row(
    given.ord, r.id, r.user_id, coalesce(older.job_type, r.job_type), r.prompt, r.negative_prompt, coalesce(r.config, '{}'),
    coalesce(r.metadata, '{}') - '{rerouted,asked_type}'::text[]
      || case when older.asked is null then '{}' else jsonb_build_object('asked_type', older.asked) end
      || case when r.character_id is null then '{}' else jsonb_build_object('character_id', r.character_id) end,
    coalesce(r.settings, '{}'), r.format, r.quality, r.model_type, r.idempotency_key, r.run_at, r.project_id, r.video_id, r.image_id,
    r.character_id, older.asked,
    -- The digest covers the request before a seed is drawn: a repeated request must have the same digest. `request` is the original body if
    -- the job was made from more than that (a project's prompt, say).
    sha256(convert_to(coalesce(given.j->'request', given.j - '{id,run_at}'::text[])::text, 'UTF8')))::ourvidz.request order by given.ord)
  from (select case p_source when 'redis' then ourvidz.read_message(j) else j end as j, ord
        from jsonb_array_elements(p_jobs) with ordinality as raw (j, ord)) as given
  cross join lateral jsonb_populate_record(null::ourvidz.request, given.j) as r
  left join ourvidz.older_types as older
    on older.asked = r.job_type
   and older.format = case when lower(coalesce(r.format, r.metadata->>'format')) like '%video%' then 'video' else 'image' end
   and older.quality = case lower(coalesce(r.quality, r.metadata->>'quality')) when 'high' then 'high' else 'fast' end);
end
$$;

ALTER FUNCTION ourvidz.read_requests(p_jobs jsonb, p_source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_settings(p_requests ourvidz.request[]) RETURNS TABLE(ord bigint, chosen jsonb, aside jsonb)
    LANGUAGE sql STABLE
    AS $$
  with kept as materialized (
    select * from ourvidz.read_names(p_requests)
  ), winners as (
    select distinct on (k.ord, k.setting) k.* from kept as k
    where k.reason is null and k.setting like 'references.%' order by k.ord, k.setting, k.layer desc, k.rank desc
  ), pictures as materialized (
    -- If only the browser can name several uploads, the last slot has the newest.
    select w.ord, w.name, split_part(w.setting, '.', 2) as slot,
           ourvidz.read_reference(w.user_id, w.value, (
             select count(distinct o.value) from winners as o
             where o.ord = w.ord and o.setting > w.setting and o.value <> w.value and o.value #>> '{}' like 'blob:%')) as address
    from winners as w
  ), plain as (
    select k.ord, k.setting, k.value, k.layer, k.rank from kept as k
    where k.reason is null and k.setting not like 'references.%' and k.setting <> 'size'
    union all
    -- Ranked below its own layer's names: an explicit width wins over the size's.
    select k.ord, side.setting, ourvidz.wire_side(k.value, side.place), k.layer, -1
    from kept as k cross join (values ('width', 1), ('height', 2)) as side (setting, place) where k.reason is null and k.setting = 'size'
  ), settings as (
    select p.ord, jsonb_object_agg(p.setting, p.value order by p.layer, p.rank) as found from plain as p group by p.ord
  ), references_ as (
    select p.ord, jsonb_object_agg(p.slot, p.address) filter (where p.address is not null) as found from pictures as p group by p.ord
  ), asides as (
    select a.ord, jsonb_agg(distinct jsonb_build_object('field', left(replace(a.name, 'references.', ''), 40), 'reason', a.reason)) as found
    from (select k.ord, k.name, k.reason from kept as k where k.reason is not null
          union all select p.ord, p.name, 'upload_not_found' from pictures as p where p.address is null
          union all select s.ord, 'compel_weights', 'not_enabled' from settings as s
                    where s.found ? 'compel_weights' and s.found->'compel_enabled' is distinct from 'true'
          union all select r.ord, 'job_type', 'older_name' from unnest(p_requests) as r where r.asked_type is not null) as a
    group by a.ord
  )
  select r.ord,
         coalesce(ourvidz.read_frames(s.found) - case when s.found->'compel_enabled' = 'true' then '{}' else '{compel_weights}' end::text[], '{}')
           || case when f.found is null then '{}' else jsonb_build_object('references', f.found) end,
         a.found
  from unnest(p_requests) as r
  left join settings as s on s.ord = r.ord left join references_ as f on f.ord = r.ord left join asides as a on a.ord = r.ord
$$;

ALTER FUNCTION ourvidz.read_settings(p_requests ourvidz.request[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.read_text(p_job uuid, p_actor text, p_reason text) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  t public.job_payloads;
begin
  select * into t from public.job_payloads where job_id = p_job;
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  end if;
  insert into ourvidz.text_reads (at, actor, job_id, user_id, reason) values (ourvidz.now(), p_actor, p_job, t.user_id, trim(p_reason));
  return jsonb_build_object('job_id', t.job_id, 'prompt', t.prompt, 'negative_prompt', t.negative_prompt, 'enhanced_prompt', t.enhanced_prompt,
                            'error_message', t.error_message, 'metadata', t.metadata);
end
$$;

ALTER FUNCTION ourvidz.read_text(p_job uuid, p_actor text, p_reason text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.readable(p_bucket text, p_path text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select case when p_path !~* '^[^/]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/' then true
    else exists (
      select from public.artifacts as a
      join public.jobs as j on j.id = a.job_id and not (j.status = 'failed' and j.final)
      join public.artifacts as whole on whole.job_id = a.job_id and whole.index = a.index and whole.kind <> 'thumbnail'
      where a.bucket = p_bucket and a.path = p_path and a.uploaded_at is not null and whole.uploaded_at is not null
    ) end
$$;

ALTER FUNCTION ourvidz.readable(p_bucket text, p_path text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.realtime_leaks() RETURNS TABLE(policy name, lets text[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_owner constant uuid := gen_random_uuid();
  v_topic constant text := 'jobs:' || v_owner;
  v_before constant text := coalesce(current_setting('realtime.topic', true), '');
  v_row constant jsonb := jsonb_build_object('n', 1, 'row', jsonb_build_object(
    'topic', v_topic, 'extension', 'broadcast', 'event', 'job', 'private', true, 'inserted_at', now(), 'updated_at', now()));
begin
  if to_regclass('realtime.messages') is null then
    return;
  end if;
  perform set_config('realtime.topic', v_topic, true);
  return query
    select t.polname, array_agg(distinct t.caller || ' ' || t.verb order by t.caller || ' ' || t.verb)
    from (select p.polname, p.polrelid, c.caller, c.role, c.claims, v.verb,
                 coalesce(case when v.letter = 'a' then pg_get_expr(p.polwithcheck, p.polrelid) end, pg_get_expr(p.polqual, p.polrelid), 'true') as said
          from pg_policy as p cross join ourvidz.storage_callers(v_owner) as c
          cross join (values ('r', 'listen'), ('a', 'speak')) as v (letter, verb)
          where p.polrelid = to_regclass('realtime.messages') and p.polpermissive and p.polcmd::text in ('*', v.letter) and c.caller <> 'its owner'
            and exists (select from unnest(p.polroles) as role where role = 0 or pg_has_role(c.role, role, 'usage'))) as t
    where ourvidz.storage_probe(t.polrelid::regclass, t.said, jsonb_build_array(v_row), t.role, t.claims) <> '{}'
    group by t.polname order by t.polname;
  perform set_config('realtime.topic', v_before, true);
end
$$;

ALTER FUNCTION ourvidz.realtime_leaks() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.realtime_send(p_payload jsonb, p_topic text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$ begin perform realtime.send(p_payload, 'job', p_topic, true); end $$;

ALTER FUNCTION ourvidz.realtime_send(p_payload jsonb, p_topic text) OWNER TO ourvidz;

CREATE FUNCTION ourvidz.reap() RETURNS TABLE(lapsed bigint, timed_out bigint, promoted bigint, busy boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_executor uuid;
  v_gone uuid[];
  v_late uuid[];
  j public.jobs;
begin
  lapsed := 0; timed_out := 0; promoted := 0;
  perform ourvidz.terminate_overlong_sessions();  -- before the lock, which one of those sessions may hold
  perform from ourvidz.locks where kind = 'reap' for update skip locked;
  busy := not found;
  if busy then
    return next; return;
  end if;
  -- Locked before any write, in the order that everyone uses: jobs by id, then their users' balances. A claim in flight when its executor
  -- was declared gone may commit afterwards: such an executor is declared gone again.
  v_gone := array(
    select id from ourvidz.executors as e
    where state <> 'gone' and lease_until <= v_now or state = 'gone' and (select id from public.jobs where executor_id = e.id limit 1) is not null
    order by id for update skip locked);
  perform from public.jobs where executor_id = any (v_gone) order by id for update;
  v_late := array(
    select id from public.jobs where executor_id is not null and executor_id <> all (v_gone) and deadline <= v_now
    order by id limit 100 for update skip locked);
  perform ourvidz.lock_profiles(array(select user_id from public.jobs where executor_id = any (v_gone) or id = any (v_late)));

  foreach v_executor in array v_gone loop
    lapsed := lapsed + ourvidz.declare_gone(v_executor, 'lease ran out');
  end loop;
  for j in select * from public.jobs where id = any (v_late) order by id loop
    update public.job_payloads set error_message = 'The attempt took longer than its time limit.' where job_id = j.id;
    perform ourvidz.fail_attempt(j, 'timeout', true, 'reaper');
    timed_out := timed_out + 1;
  end loop;
  promoted := ourvidz.promote(1000);
  if promoted > 0 then
    perform ourvidz.wake(lane, promoted) from unnest(array(select distinct lane from public.jobs where ready)) as lane;
  end if;
  perform ourvidz.reports_forget();
  if lapsed + timed_out = 0 then  -- else at the next call: these lock balances of their own
    perform ourvidz.age_expire();
    perform ourvidz.stop_remaining();
    perform ourvidz.reroute_stranded();
  end if;
  perform ourvidz.enhance_expire();
  delete from ourvidz.executors as e using ourvidz.policy
  where e.state = 'gone' and e.beat_at < v_now - make_interval(secs => policy.executor_forgotten)
    and (select id from public.jobs where executor_id = e.id limit 1) is null;
  return next;
end
$$;

ALTER FUNCTION ourvidz.reap() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.receiver_enable(p_name text, p_on boolean, p_reason text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  update ourvidz.receivers
  set enabled = p_on, exhausted = case when p_on then 0 else exhausted end,
      disabled_at = case when not p_on then coalesce(disabled_at, ourvidz.now()) end,
      disabled_reason = case when not p_on then coalesce(p_reason, 'by a person') end
  where name = p_name;
  if not found then
    raise exception 'There is no receiver "%".', left(p_name, 40)
      using errcode = 'OV018', hint = '`ourvidz deliver receivers ls` lists them.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.receiver_enable(p_name text, p_on boolean, p_reason text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.receiver_set(p_name text, p_url text DEFAULT NULL::text, p_events text[] DEFAULT NULL::text[], p_secret_env text DEFAULT NULL::text, p_fields text[] DEFAULT NULL::text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_constraint text;
  v_figures constant text[] := '{assets,thumbnails,bucket,job_type,user_id,project_id,video_id,image_id,seed,seeds,num_images,generation_time}';
  v_own constant boolean := coalesce(p_name = 'job-callback' and p_url ~ '/functions/v1/job-callback$', false);
  v_secret text;
begin
  if p_url is null and not exists (select from ourvidz.receivers where name = p_name) then
    raise exception 'There is no receiver "%".', left(p_name, 40) using errcode = 'OV018', hint = 'Give its URL to make it.';
  end if;
  v_secret := coalesce(p_secret_env, (select secret_env from ourvidz.receivers where name = p_name),
                       case when v_own then 'CALLBACK_SECRET' else upper(translate(p_name, '-', '_')) || '_SECRET' end);
  -- Whoever knows a secret can sign for all receivers that trust it.
  if exists (select from ourvidz.receivers where secret_env = v_secret and name <> p_name) then
    raise exception 'The secret % is another receiver''s: each has one of its own.', left(v_secret, 64)
      using errcode = 'OV009', column = 'secret', hint = 'Name another variable with --secret-env, and put a new secret into it.';
  end if;
  insert into ourvidz.receivers as r (name, url, events, secret_env, fields, created_at)
  values (p_name, coalesce(p_url, 'https://unused'), coalesce(p_events, '{completed,failed,cancelled}'), v_secret,
          coalesce(p_fields, v_figures || case when v_own then '{error_message,enhancedPrompt}'::text[] else '{}' end), ourvidz.now())
  on conflict (name) do update
  set url = coalesce(p_url, r.url), events = coalesce(p_events, r.events), secret_env = v_secret, fields = coalesce(p_fields, r.fields);
exception when check_violation then
  get stacked diagnostics v_constraint = constraint_name;
  raise exception '%', case v_constraint
      when 'receiver_url' then 'A receiver''s URL begins with https:// (http:// only for this machine itself), without a name or password in it.'
      when 'receiver_events' then 'A receiver hears of processing, completed, failed, cancelled: of one of them at least.'
      when 'receiver_secret' then 'A secret is named by its environment variable, in capitals: CALLBACK_SECRET.'
      when 'receiver_fields' then format('A receiver may be told %s, error_message and enhancedPrompt.', array_to_string(v_figures, ', '))
      when 'receiver_text' then 'error_message and enhancedPrompt hold text: they go to the project''s own /functions/v1/job-callback alone.'
      else 'A receiver''s name has up to 40 small letters, digits and dashes.' end
    using errcode = 'OV009', column = case v_constraint when 'receiver_text' then 'fields' else replace(v_constraint, 'receiver_', '') end;
end
$_$;

ALTER FUNCTION ourvidz.receiver_set(p_name text, p_url text, p_events text[], p_secret_env text, p_fields text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.record_refusal(p_user uuid, p_category text, p_version text, p_rule text, p_digest text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_salt constant bytea := ourvidz.salt();
begin
  if p_digest !~ '^[0-9a-f]{64}$' then
    raise check_violation;
  end if;
  insert into ourvidz.screenings (at, user_id, stage, allowed, policy_version, category, rule_id, digest, salt)
  select ourvidz.now(), p_user, 'door', false, p_version, p_category, p_rule,
         encode(sha256(v_salt || decode(p_digest, 'hex')), 'hex'), v_salt
  where not exists (select from public.profiles where id = p_user and erased_at is not null);
exception when check_violation or not_null_violation then
  raise exception 'category, policy_version and rule_id are words of at most 80 characters, and digest is 64 hex digits.' using errcode = 'OV009';
end
$_$;

ALTER FUNCTION ourvidz.record_refusal(p_user uuid, p_category text, p_version text, p_rule text, p_digest text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_bare_write() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_role constant text := (select role from ourvidz.caller());
  v_asked jsonb;
begin
  if v_role = 'service_role' then
    new.status := old.status;
    new.completed_at := old.completed_at;
    return new;  -- whatever else it changed, jobs_guard refuses
  end if;
  select coalesce(jsonb_object_agg(n.key, n.value), '{}') into v_asked
  from jsonb_each(to_jsonb(new)) as n join jsonb_each(to_jsonb(old)) as o using (key) where n.value <> o.value;
  if v_role is null and v_asked - ourvidz.other_columns() = '{}' then
    return new;  -- an operator's write to columns that no event carries
  elsif v_role is not null and v_asked - '{status,image_id,video_id,error_message}'::text[] = '{}' then
    if v_asked <> '{}' then
      perform ourvidz.rpc('change_job', v_asked || jsonb_build_object('job_id', old.id));
    end if;
    return null;
  end if;
  raise exception 'A job''s row may change only by an event.'
    using errcode = 'OV004', hint = 'Call a function of schema ourvidz (advance, complete, cancel …): it writes both.';
end
$$;

ALTER FUNCTION ourvidz.refuse_bare_write() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_by_http(p_state text, p_message text, p_detail text, p_hint text, p_field text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_wait constant text := substring(p_detail from '^Retry after ([0-9]+) s');
begin
  raise sqlstate 'PGRST' using
    message = jsonb_build_object('code', p_state, 'message', p_message, 'hint', nullif(p_hint, ''),
                                 'details', coalesce(nullif(p_field, ''), nullif(p_detail, ''))),
    detail = jsonb_build_object('status', (select http from ourvidz.refusals where name = p_state), 'headers',
                                case when v_wait is null then '{}' else jsonb_build_object('Retry-After', v_wait) end);
end
$$;

ALTER FUNCTION ourvidz.refuse_by_http(p_state text, p_message text, p_detail text, p_hint text, p_field text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  raise exception '% on %.% is refused: it is append-only.', tg_op, tg_table_schema, tg_table_name
    using errcode = 'OV003', hint = coalesce(tg_argv[0], 'To take a person''s words away, erase the payload; the events hold none.');
end
$$;

ALTER FUNCTION ourvidz.refuse_change() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_copy() RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if ourvidz.is_copy() then
    raise exception 'This database was restored, moved or copied from another one, and nobody has said yet which of the two goes on.'
      using errcode = 'OV050', hint = 'Run `ourvidz restored --replaces` or `ourvidz restored --copy`: nothing is made or sent before.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.refuse_copy() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_event(p_job uuid, p_version integer, p_type text, p_from text, p_to text, p_claim_no bigint, p_data jsonb) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
begin
  select * into j from public.jobs where id = p_job;
  if not exists (select from ourvidz.event_types where name = p_type) then
    raise exception 'Job %: there is no event type "%".', p_job, p_type using errcode = 'OV001';
  elsif not exists (select from ourvidz.transitions as t
                    where t.event = p_type and t.source is not distinct from p_from and t.target = p_to) then
    raise exception 'Job %: % may not happen to a job that is % (to %).', p_job, p_type, coalesce(p_from, 'not there yet'), p_to
      using errcode = 'OV001', hint = 'Read the job again: its status decides what may come next.';
  elsif p_from is null and j.id is not null then
    raise exception 'Job % exists already.', p_job using errcode = 'OV005';
  elsif p_from is not null and j.id is null then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  elsif ourvidz.invalid_keys(p_type, p_data) <> '{}' then
    raise exception 'Job %: an event % may not hold these keys, or not with these values: %.', p_job, p_type,
      left(array_to_string(ourvidz.invalid_keys(p_type, p_data), ', '), 200)
      using errcode = 'OV005', hint = 'Events hold figures, ids and values from lists (ourvidz.event_types), and nothing that a person wrote.';
  elsif p_from is not null and p_from <> j.status then
    raise exception 'Job % is %, not %: % does not apply.', p_job, j.status, p_from, p_type using errcode = 'OV001';
  elsif p_type = 'retried' and j.final then
    raise exception 'Job % was refused for good (%): no retry may follow.', p_job, j.error_class using errcode = 'OV011';
  elsif p_type = 'retried' and j.hidden then
    raise exception 'Job % was deleted from its owner''s library: no retry may follow.', p_job using errcode = 'OV001';
  elsif p_type in ('linked', 'removed') and not ourvidz.may_change_library(j, p_type, p_data) then
    raise exception 'Job % is % and %: it may not be % by %.', p_job, j.status,
      concat_ws(' and ', case when j.hidden then 'deleted by its owner' else 'in its owner''s library' end,
                'linked to image ' || j.image_id, 'linked to video ' || j.video_id), p_type, p_data
      using errcode = 'OV001', hint = 'A job is linked to one image and one video, once; it is deleted when it has ended, once.';
  elsif exists (select from ourvidz.transitions as t
                where t.event = p_type and t.source = p_from
                  and (t.before = 'held' and j.executor_id is null or t.before = 'free' and j.executor_id is not null)) then
    raise exception 'Job % is %held by an executor: % may not happen to it.', p_job,
      case when j.executor_id is null then 'not ' else '' end, p_type using errcode = 'OV001';
  elsif p_type = 'rerouted' and not ourvidz.may_reroute(j.job_type, p_data) then
    raise exception 'Job % is a %: it may not be rerouted to % in lane %.', p_job, j.job_type, p_data->>'job_type', p_data->>'lane'
      using errcode = 'OV001', hint = 'Call ourvidz.reroute: it knows the fallback of each type.';
  elsif p_type <> 'claimed' and j.executor_id is not null and p_claim_no is distinct from j.claim_no then
    raise exception 'Job %: claim % holds it, not claim %.', p_job, j.claim_no, p_claim_no using errcode = 'OV002';
  end if;
  raise exception 'Job %: event % (%) does not follow its last one, version %: its version, hashes, claim number or time are wrong.',
    p_job, p_version, p_type, j.version
    using errcode = 'OV005', hint = 'Call the functions of schema ourvidz; they write events that follow.';
end
$$;

ALTER FUNCTION ourvidz.refuse_event(p_job uuid, p_version integer, p_type text, p_from text, p_to text, p_claim_no bigint, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_events_out_of_order() RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_own constant xid8 := ourvidz.event_xid();
  v_next constant xid8 := (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + v_own::text::bigint
                           - pg_current_xact_id()::text::bigint)::text::xid8;
begin
  if exists (select from public.job_events where xid > v_own and xid >= v_next) then
    perform ourvidz.refuse_copy();
  end if;
end
$$;

ALTER FUNCTION ourvidz.refuse_events_out_of_order() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_missing(p_what text, p_field text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  raise exception 'There is no such % of yours.', p_what using errcode = 'OV018', column = p_field;
end
$$;

ALTER FUNCTION ourvidz.refuse_missing(p_what text, p_field text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_pace(p_plan ourvidz.plans, p_since timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_wait constant integer := ceil(extract(epoch from p_since + interval '1 minute' - ourvidz.now()));
begin
  if v_wait > 0 then
    raise exception 'More than % jobs within a minute: try again in % s.', p_plan.submits_per_minute, v_wait
      using errcode = 'OV016', detail = format('Retry after %s s.', v_wait);
  end if;
end
$$;

ALTER FUNCTION ourvidz.refuse_pace(p_plan ourvidz.plans, p_since timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_stale(p_job uuid, p_claim bigint) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
begin
  select * into j from public.jobs where id = p_job;
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  end if;
  raise exception 'Claim % does not hold job %: it is %, and % claims were made.', p_claim, p_job, j.status, j.claim_no
    using errcode = 'OV002', hint = 'Stop working on it; whatever this claim made is not wanted.';
end
$$;

ALTER FUNCTION ourvidz.refuse_stale(p_job uuid, p_claim bigint) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_suspended(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if ourvidz.is_suspended(p_user) then
    raise exception 'User % is suspended: nothing is made for them.', p_user
      using errcode = 'OV024', hint = 'They may appeal once (rpc appeal); an operator decides.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.refuse_suspended(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_unconsented(p_user uuid, p_sha256 text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_why constant text := ourvidz.why_no_consent(p_user, p_sha256);
begin
  if v_why = 'withdrawn' then
    raise exception 'The consent for this picture, or for one that it was made from, was withdrawn.'
      using errcode = 'OV019', hint = 'Nothing was charged. Use another picture, or attest the one whose consent was withdrawn again.';
  elsif v_why = 'too_deep' then
    raise exception 'This picture was made from more than 1,000 others, one after the other: their consents cannot all be checked.'
      using errcode = 'OV019', hint = 'Nothing was charged. Begin with another picture.';
  elsif v_why is not null then
    raise exception 'No consent is attested for this picture.'
      using errcode = 'OV019', hint = ourvidz.help(
        'pictures', 'Nothing was charged. Attest it, then retry the job:',
        'Attest it (attest_consent with the file''s SHA-256), then retry the job. Nothing was charged.');
  end if;
end
$$;

ALTER FUNCTION ourvidz.refuse_unconsented(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.refuse_unverified(p_user uuid) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.refuse_suspended(p_user);
  raise exception 'Profile % is not age-verified%: no job is made for it.', coalesce(p_user::text, '(none)'),
    case ourvidz.why_not_run(p_user) when 'expired' then ' any more (its verification has run out)' else '' end
    using errcode = 'OV010', hint = ourvidz.help('age', 'Have your age verified:', 'An operator verifies it: `ourvidz age verify`.');
end
$$;

ALTER FUNCTION ourvidz.refuse_unverified(p_user uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb DEFAULT '{}'::jsonb) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_id uuid;
begin
  perform ourvidz.refuse_copy();
  perform ourvidz.check_lanes(p_lanes), ourvidz.check_executor_info(p_lanes, p_info);
  if not ourvidz.operates() then
    perform ourvidz.check_registration(p_name, v_now);
  end if;
  insert into ourvidz.executors (name, called, host, pid, lanes, info, started_at, beat_at, lease_until, login,
                                 reference_pictures)
  select p_name,
         case when ourvidz.operates() then p_name
              else left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 60) || '-'
                   || left(encode(sha256(convert_to(p_name, 'UTF8')), 'hex'), 8) end,
         left(p_host, 255), p_pid, p_lanes, p_info, v_now, v_now, v_now + make_interval(secs => lease), session_user,
         p_info->>'references'
  from ourvidz.policy
  returning id into v_id;
  return v_id;
end
$$;

ALTER FUNCTION ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.removals_done(p_buckets text[], p_paths text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_gone record;
begin
  for v_gone in select * from unnest(p_buckets, p_paths) as g (bucket, path) loop
    delete from ourvidz.removals as r where (r.bucket, r.path) = (v_gone.bucket, v_gone.path);
    if found then
      update public.artifacts as a set gone_at = ourvidz.now() where (a.bucket, a.path) = (v_gone.bucket, v_gone.path) and a.gone_at is null;
    end if;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.removals_done(p_buckets text[], p_paths text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.removals_lease(p_limit integer, p_lease double precision) RETURNS TABLE(bucket text, path text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  v_due record;
begin
  perform ourvidz.refuse_copy();
  for v_due in
    select r.bucket, r.path from ourvidz.removals as r
    where r.next_at <= (select ourvidz.now())  -- evaluated once, so that the index can be used
      and (select h.user_id from ourvidz.legal_holds as h where h.user_id = r.user_id and h.lifted_at is null limit 1) is null
      and (select j.id from public.jobs as j where j.id = r.job_id and j.completed_at is null) is null
      and (select t.path from ourvidz.taken_objects as t where (t.bucket, t.path) = (r.bucket, r.path)) is null
    order by r.next_at limit p_limit for update skip locked
  loop
    return query
      update ourvidz.removals as r
      set tries = r.tries + 1, next_at = ourvidz.now() + make_interval(secs => greatest(p_lease, least(3600, 30 * 2 ^ least(r.tries, 7))))
      where (r.bucket, r.path) = (v_due.bucket, v_due.path)
      returning r.bucket, r.path;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.removals_lease(p_limit integer, p_lease double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.remove_from_library(p_job uuid, p_actor text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, null);
begin
  if j.hidden then
    return false;
  elsif j.completed_at is null then
    raise exception 'Job % is %: a job can be deleted when it has ended.', p_job, j.status
      using errcode = 'OV001', hint = 'Cancel it first (cancel_job, or its status set to cancelled), then delete it.';
  end if;
  perform ourvidz.append(array[p_job], 'removed', array[jsonb_strip_nulls(jsonb_build_object(
    'what', 'job', 'image_id', j.image_id, 'video_id', j.video_id))],
    coalesce(p_actor, ourvidz.actor(j.user_id)));
  perform ourvidz.artifacts_removed(array[p_job]);
  -- A row that somebody else is deleting is skipped, not waited for: they wait for this job.
  delete from public.images where id = any (array(select id from public.images where job_id = p_job for update skip locked));
  -- A project's scene stays, without what this job made; a row that a front end made for this one video is deleted.
  delete from public.videos where id = any (array(
    select id from public.videos as v where v.id = j.video_id and v.project_id is null and v.scene_number is null
      and not exists (select from public.jobs as other where other.video_id = v.id) for update skip locked));
  perform ourvidz.sync_videos(array_remove(array[j.video_id], null), false);
  return true;
end
$$;

ALTER FUNCTION ourvidz.remove_from_library(p_job uuid, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.replica_guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if current_setting('session_replication_role') = 'replica' and not ourvidz.is_copy()
     and not exists (select from pg_stat_get_subscription(null) where pid = pg_backend_pid()) then
    raise exception '% on %.% is refused in a session with session_replication_role = replica: triggers would not see it.',
      tg_op, tg_table_schema, tg_table_name
      using errcode = 'OV051', hint = 'Reset it. To load a dump, see docs/restore.md.';
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.replica_guard() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.repoint_legacy() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v record;
begin
  for v in
    select conname, conrelid::regclass as relation, replace(pg_get_constraintdef(oid), 'REFERENCES ourvidz.older_jobs', 'REFERENCES public.jobs') as definition
    from pg_constraint
    where contype = 'f' and confrelid = 'ourvidz.older_jobs'::regclass and conrelid <> 'ourvidz.older_jobs'::regclass
  loop
    execute format('alter table %s drop constraint %I, add constraint %2$I %s', v.relation, v.conname, v.definition);
  end loop;
  for v in
    select distinct c.oid, c.oid::regclass as name
    from pg_rewrite as r join pg_class as c on c.oid = r.ev_class and c.relkind = 'v'
    join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
     and d.refobjid = 'ourvidz.older_jobs'::regclass
  loop
    begin
      execute format('create or replace view %s as %s', v.name,
                     regexp_replace(replace(pg_get_viewdef(v.oid), 'ourvidz.older_jobs', 'public.jobs'), '[[:<:]]older_jobs[.]', 'jobs.', 'g'));
    exception when undefined_column or invalid_table_definition or insufficient_privilege or undefined_table then
      raise notice 'view % reads ourvidz.older_jobs: %', v.name, sqlerrm;
    end;
  end loop;
end
$_$;

ALTER FUNCTION ourvidz.repoint_legacy() OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.reports (
    id uuid NOT NULL,
    category text NOT NULL,
    subject text,
    user_id uuid,
    valid boolean NOT NULL,
    status text DEFAULT 'filed'::text NOT NULL,
    filed_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    forgotten boolean DEFAULT false NOT NULL,
    CONSTRAINT reports_check CHECK (((closed_at IS NULL) = (status = ANY (ARRAY['filed'::text, 'seen'::text])))),
    CONSTRAINT reports_status_check CHECK ((status = ANY (ARRAY['filed'::text, 'seen'::text, 'dismissed'::text, 'upheld'::text])))
);

ALTER TABLE ourvidz.reports OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.reports.subject IS 'Null: the link or id names no output of ours.';

COMMENT ON COLUMN ourvidz.reports.user_id IS 'Whose output it is.';

CREATE FUNCTION ourvidz.report_act(p_report uuid, p_verb text, p_actor text) RETURNS ourvidz.reports
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_report ourvidz.reports;
  v_move ourvidz.report_moves;
begin
  -- The output's row first, as filing does: serialises two verbs on two reports of one output.
  perform from ourvidz.takedowns where subject = (select subject from ourvidz.reports where id = p_report) for update;
  select * into v_report from ourvidz.reports where id = p_report for update;
  if not found then
    raise exception 'There is no report %.', p_report using errcode = 'OV018', column = 'report';
  end if;
  select * into v_move from ourvidz.report_moves where verb = p_verb and source = v_report.status;
  if not found then
    if v_report.status = (select target from ourvidz.report_moves where verb = p_verb limit 1) then
      return v_report;
    end if;
    raise exception 'Report % is %: it cannot be "%".', p_report, v_report.status, left(p_verb, 40)
      using errcode = 'OV001', hint = format('From there: %s.', (select string_agg(verb, ', ' order by verb) from ourvidz.report_moves
                                                                 where source = v_report.status));
  end if;
  if v_move.target <> v_report.status then
    update ourvidz.reports set status = v_move.target, closed_at = case when v_move.target in ('dismissed', 'upheld') then ourvidz.now() end
    where id = p_report returning * into v_report;
    perform ourvidz.moderated(case when p_verb = 'reopen' then 'reopened' else v_move.target end, p_actor, p_report => p_report,
                              p_subject => v_report.subject, p_user => v_report.user_id);
  end if;
  if v_report.subject is null then
    return v_report;
  elsif v_move.output = 'blocked' then
    perform ourvidz.block_output(v_report.subject, p_actor, v_report.category, p_report);
  elsif v_move.output is not null and not (p_verb = 'dismiss' and ourvidz.held_down(v_report.subject, p_report)) then
    perform ourvidz.takedown(v_report.subject, v_move.output, p_actor, v_report.category);
  end if;
  return v_report;
end
$$;

ALTER FUNCTION ourvidz.report_act(p_report uuid, p_verb text, p_actor text) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.report_rules (
    name text NOT NULL,
    label text NOT NULL,
    deadline double precision NOT NULL,
    hides text NOT NULL,
    per_hour integer NOT NULL,
    signed boolean NOT NULL,
    CONSTRAINT report_rules_hides_check CHECK ((hides = ANY (ARRAY['always'::text, 'valid'::text, 'never'::text])))
);

ALTER TABLE ourvidz.report_rules OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_checked(p jsonb) RETURNS ourvidz.report_rules
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_rule ourvidz.report_rules;
  v_bound record;
begin
  select * into v_rule from ourvidz.report_rules where name = p->>'category';
  if not found then
    raise exception 'category must be one of: %.', (select string_agg(name, ', ' order by deadline, name) from ourvidz.report_rules)
      using errcode = 'OV009', column = 'category';
  elsif p->>'id' is null then
    raise exception 'A report needs an id of its own.' using errcode = 'OV009', column = 'id';
  elsif p->>'source' ~ '^[0-9a-f]{64}$' is not true then
    raise exception 'source must be 64 hex digits.' using errcode = 'OV009', column = 'source';
  end if;
  for v_bound in select * from (values ('output', 500), ('contact', 254), ('signature', 200), ('said', 4000)) as b (name, longest) loop
    if length(p->>v_bound.name) > v_bound.longest then
      raise exception '% may have at most % characters.', v_bound.name, v_bound.longest using errcode = 'OV009', column = v_bound.name;
    end if;
  end loop;
  if coalesce(p->>'output', p->>'said', '') = '' then
    raise exception 'Say which output it is: its link or id, or where you saw it.' using errcode = 'OV009', column = 'output';
  end if;
  return v_rule;
end
$_$;

ALTER FUNCTION ourvidz.report_checked(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_counted(p_source text, p_rule ourvidz.report_rules) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_day constant date := (ourvidz.now() at time zone 'UTC')::date;
  v_filed integer;
begin
  delete from ourvidz.report_salts where day < v_day - 1;
  delete from ourvidz.report_sources where day < v_day - 1;
  insert into ourvidz.report_sources as s (day, source, filed) values (v_day, ourvidz.report_source(p_source, v_day), 1)
  on conflict (day, source) do update set filed = s.filed + 1 returning filed into v_filed;
  if v_filed > (select reports_a_day from ourvidz.policy) then
    raise exception 'Too many reports from here today: try again tomorrow, or write to whoever runs this service.'
      using errcode = 'OV016', detail = 'Retry after 86400 s.';
  elsif (select count(*) from ourvidz.reports where category = p_rule.name and filed_at > (select ourvidz.now() - interval '1 hour')) >= p_rule.per_hour then
    raise exception 'Too many reports of this kind just now: try again in 3600 s.' using errcode = 'OV016', detail = 'Retry after 3600 s.';
  end if;
end
$$;

ALTER FUNCTION ourvidz.report_counted(p_source text, p_rule ourvidz.report_rules) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_forget(p_report uuid, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  update ourvidz.reports set forgotten = true where id = p_report and not forgotten;
  if found then
    delete from ourvidz.report_payloads where id = p_report;
    perform ourvidz.moderated('forgotten', p_actor, p_report => p_report);
  end if;
end
$$;

ALTER FUNCTION ourvidz.report_forget(p_report uuid, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_hides(p_taken ourvidz.takedowns, p_rule ourvidz.report_rules, p_valid boolean, p_source text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if p_taken.state = 'reported' and not p_taken.reviewed
     and (p_rule.hides = 'always' or p_rule.hides = 'valid' and p_valid and ourvidz.report_may_hide(p_source)) then
    perform ourvidz.takedown(p_taken.subject, 'hidden', 'system', p_rule.name, p_reviewed => false);
  elsif p_taken.state = 'reported' then
    perform ourvidz.sync_takedown_rows(p_taken);
  end if;
end
$$;

ALTER FUNCTION ourvidz.report_hides(p_taken ourvidz.takedowns, p_rule ourvidz.report_rules, p_valid boolean, p_source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_link(p_job uuid, p_index integer) RETURNS text
    LANGUAGE sql STABLE
    AS $$ select coalesce(report_url || '?o=', '') || p_job || '.' || p_index from ourvidz.policy $$;

ALTER FUNCTION ourvidz.report_link(p_job uuid, p_index integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_may_hide(p_source text) RETURNS boolean
    LANGUAGE sql
    AS $$
  update ourvidz.report_sources as s set hides = s.hides + 1
  where s.day = (ourvidz.now() at time zone 'UTC')::date and s.source = ourvidz.report_source(p_source, s.day)
  returning s.hides <= (select report_hides_a_day from ourvidz.policy)
$$;

ALTER FUNCTION ourvidz.report_may_hide(p_source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.report_source(p_source text, p_day date) RETURNS text
    LANGUAGE sql
    AS $$
  insert into ourvidz.report_salts (day, salt) values (p_day, ourvidz.salt()) on conflict (day) do nothing;
  select encode(sha256(salt || decode(p_source, 'hex')), 'hex') from ourvidz.report_salts where day = p_day
$$;

ALTER FUNCTION ourvidz.report_source(p_source text, p_day date) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reports_forget(p_limit integer DEFAULT 20) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_ids uuid[];
begin
  v_ids := array(select id from ourvidz.reports
                 where not forgotten and closed_at < (select ourvidz.now() - make_interval(secs => report_kept) from ourvidz.policy)
                 order by closed_at limit p_limit for update skip locked);
  perform ourvidz.report_forget(id, 'system') from unnest(v_ids) as id;
end
$$;

ALTER FUNCTION ourvidz.reports_forget(p_limit integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reprioritise(p_job uuid, p_priority integer, p_version integer DEFAULT NULL::integer, p_actor text DEFAULT NULL::text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, p_version);
begin
  if p_priority not between 0 and 7 then
    raise exception 'A priority is 0 to 7; % is not.', p_priority using errcode = 'OV009', column = 'priority';
  end if;
  perform ourvidz.append(array[p_job], 'reprioritised',
    array[jsonb_build_object('priority', p_priority,
                             'rank', ourvidz.json_number(j.rank - ourvidz.priority_offset(j.priority) + ourvidz.priority_offset(p_priority)))],
    coalesce(p_actor, ourvidz.actor(j.user_id)));
  return j.version + 1;
end
$$;

ALTER FUNCTION ourvidz.reprioritise(p_job uuid, p_priority integer, p_version integer, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reraise_unless_refusal(p_state text, p_message text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if p_state not like 'OV%' then
    raise exception '%', p_message using errcode = p_state;
  end if;
end
$$;

ALTER FUNCTION ourvidz.reraise_unless_refusal(p_state text, p_message text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reroute(p_job uuid, p_version integer DEFAULT NULL::integer, p_actor text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, p_version);
begin
  if j.status <> 'queued' or j.executor_id is not null then
    raise exception 'Job % is %: only a job that waits can be rerouted.', p_job,
      case when j.status = 'queued' then 'held by an executor' else j.status end using errcode = 'OV001';
  end if;
  perform ourvidz.reroute_job(j, 'asked', coalesce(p_actor, ourvidz.actor(j.user_id)));
  return (select job_type from public.jobs where id = p_job);
end
$$;

ALTER FUNCTION ourvidz.reroute(p_job uuid, p_version integer, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reroute_job(j public.jobs, p_reason text, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_kind ourvidz.job_types;
  v_fallback ourvidz.job_types;
  v_asked jsonb;
  v_settings jsonb;
  v_lane text;
  v_start float8;
  v_change bigint;
begin
  if not ourvidz.may_run(j.user_id) then
    perform ourvidz.refuse_unverified(j.user_id);
  end if;
  select settings into v_asked from public.job_payloads where job_id = j.id;
  if ourvidz.why_not_reroute(j.id, j.job_type, v_asked) is not null then
    raise exception 'Job % cannot be rerouted: %.', j.id, ourvidz.why_not_reroute(j.id, j.job_type, v_asked)
      using errcode = 'OV009', column = 'job_type', hint = 'Let it wait for an executor of its own family, or cancel it.';
  end if;
  select * into v_kind from ourvidz.job_types where name = j.job_type;
  select * into v_fallback from ourvidz.job_types where name = v_kind.fallback;
  v_settings := ourvidz.reroute_settings(v_kind, v_fallback, v_asked);
  perform ourvidz.check_settings(v_fallback.name, v_settings, v_fallback.limits);
  v_lane := ourvidz.lane_of(v_fallback.family, v_settings);
  select start into v_start from ourvidz.next_rank(j.user_id, v_lane, 1);  -- which locks the profile
  select case when held = 0 then 0 else least(v_fallback.price - v_kind.price, 0) end into v_change
  from (select coalesce(sum(amount) filter (where account = 'held'), 0) as held  -- as in ledger_follow
        from ourvidz.token_entries where job_id = j.id) as entries;

  update public.job_payloads
  set settings = v_settings,
      metadata = metadata || jsonb_build_object('rerouted', jsonb_build_object('job_type', v_kind.name, 'settings', v_asked))
  where job_id = j.id;
  perform ourvidz.append(array[j.id], 'rerouted', array[jsonb_build_object(
    'job_type', v_fallback.name, 'lane', v_lane,
    'rank', ourvidz.json_number(v_start + ourvidz.priority_offset(j.priority)),
    'from_type', v_kind.name, 'reason', p_reason, 'price_change', v_change,
    'settings', (select jsonb_object_agg(key, value) from jsonb_each(v_asked) where key in ('width', 'height') or v_kind.limits ? key))],
    p_actor);
  update public.jobs as r
  set model_type = beside.told->>'model_type', worker_type = beside.told->>'worker_type',
      metadata = r.metadata || ((beside.told->'metadata') - '{prompt,num_images}'::text[])
  from (select ourvidz.legacy_columns(v_fallback, null) as told) as beside where r.id = j.id;
  if j.ready then
    perform ourvidz.wake(v_lane, 1);
  end if;
end
$$;

ALTER FUNCTION ourvidz.reroute_job(j public.jobs, p_reason text, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reroute_settings(p_kind ourvidz.job_types, p_fallback ourvidz.job_types, p_settings jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select p_fallback.defaults
    || coalesce((select jsonb_object_agg(key, value) from jsonb_each(p_settings)
                 where key in ('steps', 'guidance', 'seed', 'reference_fallback', 'on_enhance_failure')
                   and value is distinct from p_kind.defaults->key), '{}')
    || (select jsonb_build_object('width', size->0, 'height', size->1)
        from jsonb_array_elements(p_fallback.limits->'size'->'in') with ordinality as allowed (size, n)
        order by round(abs(ln((size->>0)::numeric / (size->>1)::numeric)
                           - ln((p_settings->>'width')::numeric / (p_settings->>'height')::numeric)), 6), n
        limit 1)
$$;

ALTER FUNCTION ourvidz.reroute_settings(p_kind ourvidz.job_types, p_fallback ourvidz.job_types, p_settings jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.reroute_stranded(p_limit integer DEFAULT 100) RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_after constant float8 := (select reroute_after from ourvidz.policy);
  v_jobs bigint := 0;
  j public.jobs;
begin
  if v_after is null then
    return 0;
  end if;
  for j in
    select waiting.*
    from (select distinct kind.family as lane, fallback.family as other
          from ourvidz.job_types as kind join ourvidz.job_types as fallback on fallback.name = kind.fallback) as lanes
    cross join lateral (
      select w.* from public.jobs as w cross join lateral (select settings from public.job_payloads where job_id = w.id limit 1) as p
      where w.ready and w.lane = lanes.lane and w.run_at <= v_now - make_interval(secs => v_after)
        -- Checked here, so that jobs that must stay do not fill the limit.
        and ourvidz.may_run(w.user_id) and ourvidz.why_not_reroute(w.id, w.job_type, p.settings) is null
      order by w.run_at limit p_limit for update of w skip locked
    ) as waiting
    where not ourvidz.lane_served(lanes.lane, v_now) and ourvidz.lane_served(lanes.other, v_now)
    order by waiting.user_id, waiting.run_at  -- in submit_batch's order of shares: no deadlock
  loop
    perform ourvidz.reroute_job(j, 'no_executor', 'reaper');
    v_jobs := v_jobs + 1;
  end loop;
  return v_jobs;
end
$$;

ALTER FUNCTION ourvidz.reroute_stranded(p_limit integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.restored(p_how text, p_keep_jobs boolean DEFAULT false) RETURNS TABLE(what text, n bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_was ourvidz.identities;
  v_executor uuid;
begin
  if p_how not in ('restored', 'copied') then
    raise exception '% is not a way to go on: restored or copied.', p_how using errcode = 'OV009', column = 'how';
  end if;
  lock table ourvidz.identities in exclusive mode;
  v_was := ourvidz.identity();
  what := 'sequences raised'; n := ourvidz.advance_sequences(); return next;
  insert into ourvidz.identities (n, id, how, since, xid_offset, system_identifier, database_oid)
  select coalesce(v_was.n, 0) + 1, case when p_how = 'restored' and v_was.n is not null then v_was.id else gen_random_uuid() end, p_how,
         ourvidz.now(), ourvidz.next_xid_offset(), here.system_identifier, here.database_oid
  from ourvidz.server_identity() as here;

  -- The executors belong to the other database, and so do their claims: their jobs are given back, and one that connects registers again.
  what := 'jobs given back'; n := 0;
  for v_executor in select e.id from ourvidz.executors as e
                    where e.state <> 'gone' or exists (select from public.jobs as j where j.executor_id = e.id) order by e.id loop
    n := n + ourvidz.declare_gone(v_executor, 'left behind');
  end loop;
  return next;
  if p_how = 'copied' then
    return query select * from ourvidz.stay_quiet(p_keep_jobs);
  end if;
end
$$;

ALTER FUNCTION ourvidz.restored(p_how text, p_keep_jobs boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.retry(p_job uuid, p_version integer DEFAULT NULL::integer, p_actor text DEFAULT NULL::text, p_charge boolean DEFAULT false) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
  v_price bigint;
  v_charged boolean;
begin
  perform ourvidz.lock_verified(array(select user_id from public.jobs where id = p_job));
  j := ourvidz.lock_at_version(p_job, p_version);
  if j.status not in ('failed', 'cancelled') then
    raise exception 'Job % is %: only a failed or cancelled job can be retried.', p_job, j.status using errcode = 'OV001';
  elsif not ourvidz.may_run(j.user_id) then
    perform ourvidz.refuse_unverified(j.user_id);
  end if;
  v_price := ourvidz.retry_price(j);
  v_charged := p_charge or coalesce((ourvidz.caller()).user_id = j.user_id, false);
  perform ourvidz.append(array[p_job], 'retried',
    array[jsonb_build_object('run_at', ourvidz.utc_text(ourvidz.now()), 'price', case when v_charged then v_price else 0 end,
                             'delivered', ourvidz.delivered(p_job),
                             'rank', ourvidz.json_number((select start from ourvidz.next_rank(j.user_id, j.lane, 1)) + ourvidz.priority_offset(j.priority)))
          || case when v_charged then '{}' else jsonb_build_object('waived', v_price) end],
    coalesce(p_actor, ourvidz.actor(j.user_id)));
  perform ourvidz.wake(j.lane, 1);
  return j.version + 1;
end
$$;

ALTER FUNCTION ourvidz.retry(p_job uuid, p_version integer, p_actor text, p_charge boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.retry_price(j public.jobs) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$
  select kind.price::bigint * greatest(ourvidz.outputs_asked(j.id) - ourvidz.delivered(j.id), 0)
  from ourvidz.job_types as kind where kind.name = j.job_type
$$;

ALTER FUNCTION ourvidz.retry_price(j public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.revoke_tokens(p_user uuid, p_amount bigint, p_reason text, p_key text DEFAULT NULL::text, p_actor text DEFAULT NULL::text, OUT balance bigint, OUT created boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  select * into balance, created from ourvidz.issue_tokens('revoke', p_user, p_amount, p_reason, p_key, p_actor);
end
$$;

ALTER FUNCTION ourvidz.revoke_tokens(p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.roles_follow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.mirror_role(new.id, new.raw_app_meta_data->>'role');
  return null;
end
$$;

ALTER FUNCTION ourvidz.roles_follow() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.row_objects(p_row jsonb) RETURNS TABLE(bucket text, path text)
    LANGUAGE sql STABLE
    AS $$
  select distinct b.name, shown.path
  from (select p_row->>name as path from unnest('{image_url,thumbnail_url,video_url,preview_url}'::text[]) as name
        union select one #>> '{}' from jsonb_array_elements(case jsonb_typeof(p_row->'image_urls') when 'array' then p_row->'image_urls'
                                                              else '[]' end) as one) as shown
  join ourvidz.buckets as b on not b.public and not b.sealed and b.name in (
    p_row->'metadata'->>'bucket', p_row->'metadata'->>'thumbnail_bucket', (select job_type from public.jobs where id = (p_row->>'job_id')::uuid))
  where starts_with(shown.path, p_row->>'user_id' || '/')
$$;

ALTER FUNCTION ourvidz.row_objects(p_row jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.row_objects_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row constant jsonb := to_jsonb(old);
begin
  insert into ourvidz.removals (bucket, path, user_id, asked_at, next_at)
  select shown.bucket, shown.path, old.user_id, ourvidz.now(), ourvidz.now()
  from ourvidz.row_objects(v_row) as shown
  -- Look-ups, each by the index on its path: the planner may answer NOT EXISTS by reading whole tables, and the index on users would read a
  -- library again for each row that is deleted.
  where (select true from public.artifacts as a where a.bucket = shown.bucket and a.path = shown.path limit 1) is null
    and (select true from public.images as i where i.image_url = shown.path and i.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.images as i where i.thumbnail_url = shown.path and i.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.videos as v where v.video_url = shown.path and v.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.videos as v where v.thumbnail_url = shown.path and v.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.videos as v where v.preview_url = shown.path and v.user_id is not distinct from old.user_id limit 1) is null
  on conflict (bucket, path) do nothing;
  return null;
end
$$;

ALTER FUNCTION ourvidz.row_objects_removed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.row_taken(p_row uuid) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  update public.images as i
  set taken_down = told.down, moderation_status = told.word, reviewed_at = case when told.word = 'flagged' then i.reviewed_at else ourvidz.now() end,
      updated_at = ourvidz.now()
  from (
    select r.id, t.state in ('hidden', 'blocked') as down,
           case t.state when 'reported' then 'flagged' when 'restored' then 'approved' else 'rejected' end as word
    from public.images as r
    join ourvidz.takedowns as t on t.kind = 'image' and (t.row_id = r.id or t.job_id = r.job_id and t.index = coalesce(r.image_index, 0))
    where r.id = p_row for update of r skip locked
  ) as told
  where i.id = any (array[told.id]) and (i.taken_down, i.moderation_status) is distinct from (told.down, told.word)
$$;

ALTER FUNCTION ourvidz.row_taken(p_row uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.rpc(p_verb text, p_asked jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_answer jsonb;
  v_message text;
  v_detail text;
  v_hint text;
  v_field text;
begin
  if jsonb_typeof(p_asked) = 'object' then  -- our own ids come as an array
    perform ourvidz.check_values(p_asked);
  end if;
  execute format('select ourvidz.%I($1)', 'api_' || p_verb) into v_answer using p_asked;
  return v_answer;
exception when others then
  if not exists (select from ourvidz.refusals where name = sqlstate)
     or coalesce(current_setting('request.method', true), '') = '' then  -- a fault, not a refusal; or the caller is not PostgREST
    raise;
  end if;
  get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail, v_hint = pg_exception_hint, v_field = column_name;
  perform ourvidz.refuse_by_http(sqlstate, v_message, v_detail, v_hint, v_field);
end
$_$;

ALTER FUNCTION ourvidz.rpc(p_verb text, p_asked jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.run_projections(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform ourvidz.ledger_follow(p_events);
  perform ourvidz.library_follow(p_events);
  perform ourvidz.usage_follow(p_events);
  perform ourvidz.outbox_follow(p_events);
  perform ourvidz.screenings_follow(p_events);
end
$$;

ALTER FUNCTION ourvidz.run_projections(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.salt() RETURNS bytea
    LANGUAGE sql
    AS $$ select sha256(convert_to(gen_random_uuid()::text, 'UTF8')) $$;

ALTER FUNCTION ourvidz.salt() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.salted(p_job uuid, p_data jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if p_data ? 'sha256' then
    return (select p_data - 'sha256' || jsonb_build_object('digest', encode(sha256(salt || decode(p_data->>'sha256', 'hex')), 'hex'))
            from public.job_payloads where job_id = p_job);
  end if;
  return p_data;
end
$$;

ALTER FUNCTION ourvidz.salted(p_job uuid, p_data jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.sampler_with_schedule(p_limit jsonb, p_said jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
  select case when jsonb_typeof(p_said->'sampler_name') = 'string' and jsonb_typeof(p_said->'scheduler') = 'string'
    then to_jsonb(trim(left(p_said->>'sampler_name', 100) || ' ' || (p_limit->'noise'->>ourvidz.scheduler_key(p_said->>'scheduler')))) end
$$;

ALTER FUNCTION ourvidz.sampler_with_schedule(p_limit jsonb, p_said jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.scalar_matches_kind(p_value jsonb, p_kind jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select coalesce(case
    when p_value is null or p_value = 'null' then true
    when jsonb_typeof(p_value) in ('array', 'object') then false
    when p_kind ? 'in' then p_kind->'in' @> p_value
    when p_kind ? 'match' then jsonb_typeof(p_value) = 'string' and p_value #>> '{}' ~ (p_kind->>'match')
    else jsonb_typeof(p_value) = p_kind->>'type' end, false)
$$;

ALTER FUNCTION ourvidz.scalar_matches_kind(p_value jsonb, p_kind jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.scheduler_key(p_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
  select regexp_replace(replace(lower(left(p_name, 100)), '+', 'p'), '[^a-z0-9]', '', 'g')
$$;

ALTER FUNCTION ourvidz.scheduler_key(p_name text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.screenings_follow(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into ourvidz.screenings (at, user_id, job_id, stage, allowed, policy_version, category, rule_id, digest)
  select e.occurred_at, j.user_id, e.job_id, coalesce(e.data->>'stage', 'prompt'), false, e.data->>'policy_version', e.data->>'category',
         e.data->>'rule_id', e.data->>'digest'
  from unnest(p_events) as e
  cross join lateral (select user_id from public.jobs where id = e.job_id limit 1) as j
  where e.type = 'failed' and e.data ? 'policy_version';
end
$$;

ALTER FUNCTION ourvidz.screenings_follow(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.server_identity(OUT system_identifier bigint, OUT database_oid oid) RETURNS record
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  database_oid := (select d.oid from pg_database as d where d.datname = current_database());
  system_identifier := 0;
  if has_function_privilege('ourvidz_owner', 'pg_control_system()', 'execute') then
    system_identifier := (select c.system_identifier from pg_control_system() as c);
  end if;
exception when insufficient_privilege or feature_not_supported then
  system_identifier := 0;
end
$$;

ALTER FUNCTION ourvidz.server_identity(OUT system_identifier bigint, OUT database_oid oid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.set_limits(p_login name, p_reset boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_one record;
  v_connections integer;
begin
  for v_one in select * from ourvidz.limits_of(p_login) where value is null or p_reset and value <> wanted loop
    execute format('alter role %I in database %I set %I = %L', p_login, current_database(), v_one.setting, v_one.wanted);
  end loop;
  select connections into v_connections from ourvidz.our_logins() where name = p_login;
  if v_connections is not null and (p_reset or (select rolconnlimit from pg_roles where rolname = p_login) = -1) then
    execute format('alter role %I connection limit %s', p_login, v_connections);
  end if;
  if not pg_has_role('ourvidz_owner', p_login, 'usage') then
    execute format('grant %I to ourvidz_owner', p_login);
  end if;
end
$$;

ALTER FUNCTION ourvidz.set_limits(p_login name, p_reset boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.settled_xid() RETURNS xid8
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return (pg_snapshot_xmin(pg_current_snapshot())::text::bigint
          + coalesce((select i.xid_offset from ourvidz.identities as i order by i.n desc limit 1), 0))::text::xid8;
end
$$;

ALTER FUNCTION ourvidz.settled_xid() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.signed_in() RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_user constant uuid := (ourvidz.caller()).user_id;
begin
  if v_user is null then
    raise exception 'Nobody is signed in.' using errcode = 'OV017', hint = 'Send the user''s own JWT.';
  end if;
  return v_user;
end
$$;

ALTER FUNCTION ourvidz.signed_in() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.snooze(p_job uuid, p_claim bigint, p_token uuid, p_reason text, p_delay double precision DEFAULT 0) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  perform ourvidz.check_word(p_reason, 'reason');
  select * into j from public.jobs where id = p_job;
  if j.cancel_requested then
    perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], 'executor');
  else
    perform ourvidz.append(array[p_job], 'snoozed',
      array[jsonb_build_object('reason', p_reason, 'run_at', ourvidz.utc_text(ourvidz.now() + make_interval(secs => p_delay)))], 'executor');
    if p_delay <= 0 then
      perform ourvidz.wake(j.lane, 1);
    end if;
  end if;
end
$$;

ALTER FUNCTION ourvidz.snooze(p_job uuid, p_claim bigint, p_token uuid, p_reason text, p_delay double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.stage_output(p_job uuid, p_final boolean) RETURNS TABLE(final boolean, made_at timestamp with time zone, bucket text, path text, thumbnail_bucket text, thumbnail_url text, resolution text, seconds numeric, title text, metadata jsonb)
    LANGUAGE sql STABLE
    AS $$
  select p_final, j.completed_at, a.bucket, a.path, small.bucket, small.path, a.width || 'x' || a.height,
         round(a.frames / (p.settings->>'fps')::numeric, 4), ourvidz.library_title(said.metadata, p.prompt, 'Untitled Video'),
         said.metadata || jsonb_strip_nulls(jsonb_build_object(
           'prompt', p.prompt, 'job_type', j.job_type, 'original_job_id', j.id, 'model_type', 'wan', 'seed', a.seed,
           'generation_time', ourvidz.generation_seconds(j.id, j.version),
           'report', case when p_final then ourvidz.report_link(j.id, a.index) end))
  from public.jobs as j
  cross join lateral (
    select * from public.artifacts as one
    where one.job_id = j.id and one.kind = case when p_final then 'video' else 'image' end and one.uploaded_at is not null
      and one.deleted_at is null
    order by one.index limit 1
  ) as a
  left join public.artifacts as small on small.job_id = j.id and small.kind = 'thumbnail' and small.index = a.index
  left join public.job_payloads as p on p.job_id = j.id
  cross join lateral (select coalesce(j.metadata, p.metadata, '{}') - '{primary_asset,all_assets}'::text[] as metadata) as said
  where j.id = p_job and j.completed_at is not null and (p_final or j.status = 'completed')
$$;

ALTER FUNCTION ourvidz.stage_output(p_job uuid, p_final boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.stay_quiet(p_keep_jobs boolean) RETURNS TABLE(what text, n bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_jobs uuid[];
begin
  update ourvidz.receivers set enabled = false, disabled_at = ourvidz.now(), disabled_reason = 'a copy of another database' where enabled;
  what := 'receivers turned off'; get diagnostics n = row_count; return next;
  update ourvidz.outbox set dead_at = ourvidz.now(), last_error = 'a copy: the original sends it' where delivered_at is null and dead_at is null;
  what := 'messages not to be sent'; get diagnostics n = row_count; return next;
  delete from ourvidz.removals;
  what := 'deletions of objects dropped'; get diagnostics n = row_count; return next;
  update ourvidz.taken_objects set moved = down or suspended where moved <> (down or suspended);
  what := 'moves of objects dropped'; get diagnostics n = row_count; return next;
  delete from ourvidz.taken_objects where not (down or suspended);
  update ourvidz.suspensions set sweep_at = null where sweep_at is not null;
  if not p_keep_jobs then
    v_jobs := array(select id from public.jobs where completed_at is null order by id for update);
    perform ourvidz.lock_profiles(array(select user_id from public.jobs where id = any (v_jobs)));
    perform ourvidz.append(v_jobs, 'cancelled', array_fill('{}'::jsonb, array[cardinality(v_jobs)]), 'operator');
    what := 'jobs cancelled'; n := cardinality(v_jobs); return next;
  end if;
end
$$;

ALTER FUNCTION ourvidz.stay_quiet(p_keep_jobs boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.stop_jobs(user_id uuid, reason text, actor text) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_user constant uuid := $1;
  j record;
  v_waiting uuid[] := '{}';
  v_held uuid[] := '{}';
begin
  perform ourvidz.check_word(reason, 'reason');
  insert into ourvidz.stops (user_id, reason, actor, asked_at) values (v_user, $2, $3, ourvidz.now())
  on conflict (user_id) do update set reason = excluded.reason, actor = excluded.actor, asked_at = excluded.asked_at;
  for j in
    select id, executor_id from public.jobs as unfinished
    where unfinished.user_id = v_user and completed_at is null and not cancel_requested order by id for update skip locked
  loop
    if j.executor_id is null then
      v_waiting := v_waiting || j.id;
    else
      v_held := v_held || j.id;
      perform pg_notify('ourvidz', j.executor_id::text);
    end if;
  end loop;
  if v_waiting <> '{}' then
    perform ourvidz.append(v_waiting, 'cancelled', array_fill(jsonb_build_object('reason', $2), array[cardinality(v_waiting)]), $3);
  end if;
  if v_held <> '{}' then
    perform ourvidz.append(v_held, 'cancel_requested', array_fill(jsonb_build_object('reason', $2), array[cardinality(v_held)]), $3);
  end if;
  -- Nobody wants an answer any more: the enhancer finds its request gone.
  delete from ourvidz.enhancement_requests where enhancement_requests.user_id = v_user;
  return cardinality(v_waiting) + cardinality(v_held);
end
$_$;

ALTER FUNCTION ourvidz.stop_jobs(user_id uuid, reason text, actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.stop_remaining(p_limit integer DEFAULT 20) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  s ourvidz.stops;
begin
  for s in select * from ourvidz.stops order by user_id limit p_limit for update skip locked loop
    if not ourvidz.may_run(s.user_id) then
      perform ourvidz.stop_jobs(s.user_id, s.reason, s.actor);
      continue when exists (select from public.jobs where user_id = s.user_id and completed_at is null and not cancel_requested);
    end if;
    delete from ourvidz.stops where user_id = s.user_id;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.stop_remaining(p_limit integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_allows(p_holds text, p_caller text, p_verb text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
  select case p_holds
    when 'assets' then p_verb = 'select'
    when 'sealed' then false
    when 'bucket' then p_verb = 'select'
    when 'theirs' then p_caller = 'its owner' or p_caller = 'another user' and p_verb = 'insert'
    when 'undelivered' then false
    when 'references' then p_caller = 'its owner' and p_verb in ('select', 'insert', 'delete')
    else p_caller = 'its owner' and p_verb in ('select', 'delete') end
$$;

ALTER FUNCTION ourvidz.storage_allows(p_holds text, p_caller text, p_verb text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_attempt(p_verb text, p_buckets text[], p_owner uuid, p_role text, p_claims jsonb) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_role constant text := current_setting('role');
  v_reached text[] := '{}';
  v_bucket text;
  v_undelivered constant text := p_owner || '/________-____-____-____-____________/%';  -- as storage_probes makes them
begin
  perform set_config('request.jwt.claims', p_claims::text, true), set_config('role', p_role, true);
  foreach v_bucket in array case when p_verb = 'insert' then p_buckets else '{all}' end loop
    begin
      case p_verb
        when 'insert' then
          insert into storage.objects (bucket_id, name, owner) values (v_bucket, p_owner || '/fresh.png', (p_claims->>'sub')::uuid);
          v_reached := v_reached || v_bucket;
        when 'select' then
          v_reached := array(select distinct bucket_id || case when name like v_undelivered then '/undelivered' else '' end
                             from storage.objects where name like p_owner || '/%');
        when 'update' then
          with done as (update storage.objects set metadata = '{}' where name like p_owner || '/%' returning bucket_id, name)
          select array_agg(distinct bucket_id || case when name like v_undelivered then '/undelivered' else '' end) into v_reached from done;
        when 'delete' then
          with done as (delete from storage.objects where name like p_owner || '/%' returning bucket_id, name)
          select array_agg(distinct bucket_id || case when name like v_undelivered then '/undelivered' else '' end) into v_reached from done;
        when 'buckets' then
          with done as (update storage.buckets set public = public where id = any (p_buckets) returning id)
          select array_agg(id) into v_reached from done;
      end case;
      raise exception using errcode = 'OV000';
    exception when sqlstate 'OV000' then null;  -- it succeeded, and is undone
    when lock_not_available then v_reached := p_buckets;  -- it passed the policy and waited for the row
    when others then null;  -- refused, as a request would be
    end;
  end loop;
  perform set_config('role', v_role, true), set_config('request.jwt.claims', '', true);
  return coalesce(v_reached, '{}');
end
$$;

ALTER FUNCTION ourvidz.storage_attempt(p_verb text, p_buckets text[], p_owner uuid, p_role text, p_claims jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_callers(p_owner uuid) RETURNS TABLE(caller text, role text, claims jsonb)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_known uuid;
  v_claims constant jsonb := '{"role": "authenticated", "aud": "authenticated", "aal": "aal2", "email": "probe@ourvidz.invalid", "app_metadata":
                               {"provider": "email"}, "user_metadata": {}}';
begin
  if to_regclass('public.profiles') is not null then
    execute 'select id from public.profiles as p where to_jsonb(p)->>''erased_at'' is null '
            || case when to_regclass('public.user_roles') is not null
                    then 'and not exists (select from public.user_roles as r where r.user_id = p.id and r.role::text in (''admin'', ''moderator'')) '
                    else '' end
            || 'order by to_jsonb(p)->>''subscription_status'' in (''inactive'', ''free''), to_jsonb(p)->>''created_at'' desc limit 1'
    into v_known;
  end if;
  return query
    select 'anon', 'anon', jsonb_build_object('role', 'anon')
    union all select 'another user', 'authenticated', v_claims || jsonb_build_object('sub', gen_random_uuid())
    union all select 'another user', 'authenticated', v_claims || jsonb_build_object('sub', v_known) where v_known is not null
    union all select 'another user', 'authenticated',
      v_claims || jsonb_build_object('sub', gen_random_uuid(), 'user_metadata', '{"role": "admin", "admin": true, "is_admin": true}'::jsonb)
    union all select 'its owner', 'authenticated', v_claims || jsonb_build_object('sub', p_owner);
end
$$;

ALTER FUNCTION ourvidz.storage_callers(p_owner uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_leaks(p_ours jsonb) RETURNS TABLE(policy name, relation regclass, lets text[], buckets text[], remedy text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  v_owner constant uuid := gen_random_uuid();
  v_probes constant jsonb := (select jsonb_agg(to_jsonb(r)) from ourvidz.storage_probes(p_ours, v_owner) as r);
  v_leaks jsonb := '[]';
  v_try record;
begin
  for v_try in
    with probes as (
      select * from jsonb_to_recordset(v_probes) as r (n bigint, relation text, probe jsonb)
    ), tries as materialized (  -- an inserted row belongs to its inserter
      select c.*, r.relation::regclass as relation, v.letter, v.verb, jsonb_agg(jsonb_build_object('n', r.n, 'row', r.probe
               || case when v.verb = 'insert' then jsonb_build_object('owner', c.claims->'sub', 'owner_id', c.claims->'sub') else '{}' end)) as rows
      from ourvidz.storage_callers(v_owner) as c cross join probes as r
      cross join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) as v (letter, verb)
      group by c.caller, c.role, c.claims, r.relation, v.letter, v.verb
    )
    select p.oid, t.*, case when t.verb = 'insert' then coalesce(c.checked, c.used, 'true') else coalesce(c.used, 'true') end as expression
    from pg_policy as p
    cross join lateral (select pg_get_expr(p.polqual, p.polrelid) as used, pg_get_expr(p.polwithcheck, p.polrelid) as checked) as c
    join tries as t on t.relation = p.polrelid and p.polcmd::text in ('*', t.letter)
    where p.polpermissive and exists (select from unnest(p.polroles) as role where role = 0 or pg_has_role(t.role, role, 'usage'))
  loop
    v_leaks := v_leaks || coalesce(
      (select jsonb_agg(distinct jsonb_build_object('oid', v_try.oid, 'lets', v_try.caller
                 || case when r.holds = 'undelivered' then ' before delivery ' else ' ' end || v_try.verb, 'bucket', r.bucket))
       from unnest(ourvidz.storage_probe(v_try.relation, v_try.expression, v_try.rows, v_try.role, v_try.claims)) as found
       join jsonb_to_recordset(v_probes) as r (n bigint, bucket text, holds text) on r.n = found
       where not ourvidz.storage_allows(r.holds, v_try.caller, v_try.verb)), '[]');
  end loop;
  return query
    select p.polname, p.polrelid::regclass, array_agg(distinct l.lets order by l.lets), array_agg(distinct l.bucket order by l.bucket),
           format('drop policy %I on %s;', p.polname, p.polrelid::regclass)
    from jsonb_to_recordset(v_leaks) as l (oid oid, lets text, bucket text) join pg_policy as p on p.oid = l.oid
    group by p.oid, p.polname, p.polrelid order by p.polname;
end
$$;

ALTER FUNCTION ourvidz.storage_leaks(p_ours jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_policies() RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_mine constant text := '(storage.foldername(name))[1] = (select auth.uid())::text';
  v_private constant text[] := (select array_agg(name order by name) from ourvidz.buckets where not public and not sealed);
  v_sealed constant text[] := (select coalesce(array_agg(name order by name), '{}') from ourvidz.buckets where sealed);
  v_here constant text := 'not (select ourvidz.am_suspended()) and not ourvidz.is_withheld(bucket_id, name)';
  -- HTTP libraries on the way resolve dot segments: MINE/../THEIRS/a.png would name another user's object.
  v_plain constant text := $p$name !~ '(^|/)[.]{1,2}(/|$)'$p$;
  v_theirs text;
  v_public constant text[] := (select array_agg(name order by name) from ourvidz.buckets where public);
  v_uploads constant text[] := (select array_agg(name order by name) from ourvidz.buckets where uploads);
  v_statement text;
  v_comment text;
  p record;
begin
  v_theirs := format('bucket_id = any (%L) and %s and (bucket_id = any (%L) or ourvidz.readable(bucket_id, name)) and %s',
                     v_private, v_mine, v_uploads, v_here);
  for p in
    select *, 'ourvidz: ' || md5(rule) as mark
    from (values
      ('ourvidz own', format('for select to authenticated using (%s)', v_theirs)),
      ('ourvidz upload', format('for insert to authenticated with check (bucket_id = any (%L) and %s and %s and %s and (select ourvidz.may_upload()))',
                                v_uploads, v_mine, v_plain, v_here)),
      ('ourvidz delete', format('for delete to authenticated using (%s and not (select ourvidz.on_hold()))', v_theirs)),
      ('ourvidz public', format('for select to anon, authenticated using (bucket_id = any (%L))', v_public)),
      ('ourvidz admin', format('for select to ourvidz_admin using (bucket_id = any (%L))', v_private || v_public)),
      ('ourvidz service', format('to service_role using (bucket_id = any (%1$L)) with check (bucket_id = any (%1$L))', v_private || v_public || v_sealed))
    ) as wanted (name, rule)
  loop
    continue when exists (select from pg_policy where polrelid = 'storage.objects'::regclass and polname = p.name
                          and obj_description(oid, 'pg_policy') = p.mark);
    v_statement := format('drop policy if exists %1$I on storage.objects; create policy %1$I on storage.objects %2$s; ', p.name, p.rule);
    v_comment := format('comment on policy %I on storage.objects is %L;', p.name, p.mark);
    begin
      execute v_statement;
      begin
        execute v_comment;
      exception when insufficient_privilege then
        null;  -- Supabase's `postgres` creates policies there without owning the table, and only its owner comments: recreated next time
      end;
    exception when insufficient_privilege then
      return next v_statement || v_comment;
    end;
  end loop;
end
$_$;

ALTER FUNCTION ourvidz.storage_policies() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_probe(p_relation regclass, p_expression text, p_rows jsonb, p_role text, p_claims jsonb) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_role constant text := current_setting('role');
  v_claims constant text := coalesce(current_setting('request.jwt.claims', true), '');
  v_found bigint[] := '{}';
begin
  perform set_config('request.jwt.claims', p_claims::text, true);
  begin
    begin
      perform set_config('role', p_role, true);
    exception when insufficient_privilege then
      null;  -- a role of the database's own that this login is not a member of: only the claims decide
    end;
    -- The alias is the table's own name, by which a policy refers to its columns in subqueries.
    execute format('select coalesce(array_agg(ourvidz_n), ''{}'') from (select (ourvidz_row->>''n'')::bigint as ourvidz_n, ourvidz_row->''row'' '
                   'as ourvidz_one from jsonb_array_elements($1) as ourvidz_row) as ourvidz_rows '
                   'cross join lateral jsonb_populate_record(null::%1$s, ourvidz_one) as %2$I where %3$s',
                   p_relation, (select relname from pg_class where oid = p_relation), p_expression)
    into v_found using p_rows;
  exception when others then
    v_found := '{}';
    if jsonb_array_length(p_rows) > 1 then  -- of several rows only the failing ones are refused
      perform set_config('role', v_role, true);
      select coalesce(array_agg(n), '{}') into v_found
      from jsonb_array_elements(p_rows) as one,
           unnest(ourvidz.storage_probe(p_relation, p_expression, jsonb_build_array(one), p_role, p_claims)) as n;
    end if;
  end;
  perform set_config('role', v_role, true), set_config('request.jwt.claims', v_claims, true);
  return v_found;
end
$_$;

ALTER FUNCTION ourvidz.storage_probe(p_relation regclass, p_expression text, p_rows jsonb, p_role text, p_claims jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_probes(p_ours jsonb, p_owner uuid) RETURNS TABLE(n bigint, relation regclass, bucket text, holds text, probe jsonb)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  with ours as (
    select * from jsonb_to_recordset(p_ours) as b (name text, public boolean, uploads boolean, sealed boolean)
  ), buckets as (
    select name, case when public then 'assets' when sealed then 'sealed' when uploads then 'references' else 'outputs' end as holds, public from ours
    union all
    select id, 'theirs', false from storage.buckets where not coalesce(public, false) and id not in (select name from ours)
  ), objects as (
    select b.name, b.holds, p_owner || path as path
    from buckets as b, unnest('{/a.png,/a.jpg,/a.gif,/a/1-0.png,/a/1-0.webp,/a/1-0.mp4}'::text[]) as path
    union all
    select name, 'undelivered', p_owner || '/' || gen_random_uuid() || path
    from buckets, unnest('{/1-0.png,/1-0.webp,/1-0.mp4}'::text[]) as path where holds = 'outputs'
  ), rows as (
    select 'storage.objects'::regclass as relation, name, holds,
           jsonb_build_object('id', gen_random_uuid(), 'bucket_id', name, 'name', path, 'owner', p_owner, 'owner_id', p_owner, 'path_tokens',
                              string_to_array(path, '/'), 'version', '1', 'created_at', now(), 'updated_at', now(), 'last_accessed_at', now(),
                              'user_metadata', '{}'::jsonb, 'metadata', '{"size": 1000, "mimetype": "image/png"}'::jsonb) as probe
    from objects
    union all
    select 'storage.buckets'::regclass, name, 'bucket',
           jsonb_build_object('id', name, 'name', name, 'public', public, 'created_at', now(), 'updated_at', now())
    from buckets where holds <> 'theirs'
  )
  select row_number() over (), relation, name, holds, probe from rows
$$;

ALTER FUNCTION ourvidz.storage_probes(p_ours jsonb, p_owner uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.storage_trial() RETURNS TABLE(bucket text, caller text, verb text, went boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  v_owner constant uuid := gen_random_uuid();
  v_probes constant jsonb := (
    select jsonb_agg(jsonb_build_object('bucket', bucket, 'holds', holds, 'name', probe->>'name'))
    from ourvidz.storage_probes((select jsonb_agg(to_jsonb(b)) from ourvidz.buckets as b), v_owner) where relation = 'storage.objects'::regclass);
  v_buckets constant text[] := array(select distinct r->>'bucket' from jsonb_array_elements(v_probes) as r);
  v_found jsonb := '[]';
begin
  perform set_config('storage.allow_delete_query', 'true', true);  -- Supabase's guard of rows that have a file; these have none
  begin
    insert into storage.buckets (id, name, public) select name, name, public from ourvidz.buckets on conflict do nothing;
    insert into storage.objects (bucket_id, name, owner) select r->>'bucket', r->>'name', v_owner from jsonb_array_elements(v_probes) as r;
    v_found := (select jsonb_agg(jsonb_build_object('caller', c.caller, 'verb', verb, 'did',
                         to_jsonb(ourvidz.storage_attempt(verb, v_buckets, v_owner, c.role, c.claims))))
                from ourvidz.storage_callers(v_owner) as c, unnest('{select,insert,update,delete,buckets}'::text[]) as verb);
    raise exception using errcode = 'OV000';
  exception when sqlstate 'OV000' then null;  -- all undone, except v_found
  end;
  return query
    select distinct p.bucket, f.caller || p.when, f.verb, f.did ? p.reached
    from jsonb_to_recordset(v_found) as f (caller text, verb text, did jsonb)
    cross join (
      select distinct r->>'bucket' as bucket, r->>'holds' as holds,
             r->>'bucket' || case when r->>'holds' = 'undelivered' then '/undelivered' else '' end as reached,
             case when r->>'holds' = 'undelivered' then ' before delivery' else '' end as when
      from jsonb_array_elements(v_probes) as r
    ) as p
    cross join lateral (select f.verb <> 'buckets' and ourvidz.storage_allows(p.holds, f.caller, f.verb) as may) as rule
    where f.did ? p.reached and not rule.may and not (f.verb = 'buckets' and p.holds = 'theirs')
       or f.caller = 'its owner' and p.holds <> 'theirs' and rule.may and not f.did ? p.reached
    order by 1, 2, 3;
end
$$;

ALTER FUNCTION ourvidz.storage_trial() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.submit(request jsonb, source text, dry_run boolean DEFAULT false) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_actor constant text := case source when 'rpc' then 'person' when 'row' then 'person' when 'redis' then 'intake'
                                       when 'cli' then 'person' when 'import' then 'migration' end;
  v_made record;
begin
  if v_actor is null then
    raise exception 'There is no way in called "%".', left(source, 40) using errcode = 'OV009', column = 'source';
  elsif dry_run then
    return ourvidz.submit_dry(request, source);
  elsif source = 'redis' and request ?| '{id,jobId}' then
    return ourvidz.intake_submit(request);
  end if;
  select * into v_made from ourvidz.submit_batch(jsonb_build_array(request), v_actor, source);
  return ourvidz.submitted(v_made.job_id, v_made.created);
end
$$;

ALTER FUNCTION ourvidz.submit(request jsonb, source text, dry_run boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.submit_batch(p_jobs jsonb, p_actor text DEFAULT 'system'::text, p_source text DEFAULT 'cli'::text) RETURNS TABLE(ord bigint, job_id uuid, created boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_asked constant ourvidz.asked_job[] := ourvidz.normalise_requests(p_jobs, p_source);
  v_fresh ourvidz.asked_job[];
begin
  perform ourvidz.check_requests(v_asked);

  -- Serialises submits per id and key: a second submit waits here, then finds the first one's job.
  perform ourvidz.lock_names('submit', array(
    select user_id::text || '/' || idempotency_key from unnest(v_asked) where idempotency_key is not null
    union all select a.id::text from unnest(v_asked) as a));

  return query
  select a.ord, p.job_id, false
  from unnest(v_asked) as a
  join public.job_payloads as p on p.job_id = a.id or (p.user_id = a.user_id and p.idempotency_key = a.idempotency_key)
  where ourvidz.check_same_request(a, p);

  -- Within one batch too, the first request with a key makes the job.
  select array_agg(a order by a.ord) into v_fresh
  from (select distinct on (coalesce(asked.user_id::text || asked.idempotency_key, asked.id::text)) asked.*
        from unnest(v_asked) as asked order by coalesce(asked.user_id::text || asked.idempotency_key, asked.id::text), asked.ord) as a
  where not exists (select from public.job_payloads as p
                    where p.job_id = a.id or (p.user_id = a.user_id and p.idempotency_key = a.idempotency_key));
  if v_fresh is not null then
    perform ourvidz.insert_submitted(v_fresh, v_now, p_actor);
  end if;

  return query
  select a.ord, fresh.id, a.ord = fresh.ord
  from unnest(v_asked) as a
  join unnest(v_fresh) as fresh  -- an equality, which can be hashed: a batch may be long
    on coalesce(fresh.user_id::text || fresh.idempotency_key, fresh.id::text) = coalesce(a.user_id::text || a.idempotency_key, a.id::text);
end
$$;

ALTER FUNCTION ourvidz.submit_batch(p_jobs jsonb, p_actor text, p_source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.submit_dry(p_request jsonb, p_source text) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_asked constant ourvidz.asked_job[] := ourvidz.normalise_requests(jsonb_build_array(p_request), p_source);
  a constant ourvidz.asked_job := v_asked[1];
  v_price constant bigint := ourvidz.price_of(a.job_type, a.settings);
  v_balance bigint;
  v_place record;
begin
  perform ourvidz.check_requests(v_asked, false);
  perform ourvidz.check_pictures(v_asked);
  if (ourvidz.caller()).role is not null then
    perform ourvidz.check_pace(a.user_id);
  end if;
  select token_balance into v_balance from public.profiles where id = a.user_id;
  if v_price > v_balance then
    raise exception 'This takes % tokens, and the balance of profile % is %.', v_price, a.user_id, v_balance
      using errcode = 'OV014', detail = json_build_object('needed', v_price, 'balance', v_balance)::text;
  end if;
  select * into v_place from ourvidz.place_of(a.lane, a.job_type, ourvidz.entry(a.user_id, a.lane) + ourvidz.priority_offset(a.priority), ourvidz.now());
  return jsonb_build_object('job_type', a.job_type, 'settings', a.settings, 'lane', a.lane, 'set_aside', coalesce(a.set_aside, '[]'),
                            'price', v_price, 'balance', v_balance, 'position', v_place.n, 'eta_seconds', ceil(v_place.eta));
end
$$;

ALTER FUNCTION ourvidz.submit_dry(p_request jsonb, p_source text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.submitted(p_job uuid, p_created boolean) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select ourvidz.job_view(p_job) || jsonb_build_object('created', p_created, 'balance',
    (select token_balance from public.profiles as p join public.jobs as j on j.user_id = p.id where j.id = p_job))
$$;

ALTER FUNCTION ourvidz.submitted(p_job uuid, p_created boolean) OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.suspensions (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    since timestamp with time zone NOT NULL,
    by text NOT NULL,
    lifted_at timestamp with time zone,
    lifted_by text,
    sweeps integer DEFAULT 0 NOT NULL,
    sweep_at timestamp with time zone,
    CONSTRAINT suspensions_by_check CHECK (((length(by) >= 1) AND (length(by) <= 120))),
    CONSTRAINT suspensions_lifted_by_check CHECK (((length(lifted_by) >= 1) AND (length(lifted_by) <= 120))),
    CONSTRAINT suspensions_reason_check CHECK ((reason ~ '^[a-z_]{1,40}$'::text))
);

ALTER TABLE ourvidz.suspensions OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.suspensions.sweep_at IS 'When the user''s folders are listed next, for objects to move away. Again later, for what was under way.';

CREATE FUNCTION ourvidz.suspend(p_user uuid, p_reason text, p_actor text) RETURNS ourvidz.suspensions
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_row ourvidz.suspensions;
begin
  if p_reason ~ '^[a-z_]{1,40}$' is not true then
    raise exception 'The reason of a suspension is one word of a to z, of at most 40 letters.' using errcode = 'OV009', column = 'reason';
  end if;
  -- The lock that a submit shares: what was queued before is stopped here, and nothing is queued after.
  perform ourvidz.profile_lock(p_user);
  insert into ourvidz.suspensions (user_id, reason, since, by, sweep_at) values (p_user, p_reason, ourvidz.now(), p_actor, ourvidz.now())
  on conflict (user_id) where lifted_at is null do nothing returning * into v_row;
  if not found then
    select * into v_row from ourvidz.suspensions where user_id = p_user and lifted_at is null;
    return v_row;
  end if;
  perform ourvidz.moderated('suspended', p_actor, p_user => p_user, p_reason => p_reason);
  update ourvidz.taken_objects set suspended = true, tries = 0, next_at = ourvidz.now() where user_id = p_user and not suspended;
  insert into ourvidz.taken_objects as t (bucket, path, user_id, suspended, next_at)
  select a.bucket, a.path, p_user, true, ourvidz.now()
  from public.artifacts as a where a.job_id = any (array(select id from public.jobs where user_id = p_user)) and num_nulls(a.deleted_at) = 1
  on conflict (bucket, path) do nothing;
  perform ourvidz.stop_jobs(p_user, 'suspended', p_actor);
  return v_row;
end
$_$;

ALTER FUNCTION ourvidz.suspend(p_user uuid, p_reason text, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.suspension_found(p_id uuid, p_bucket text, p_paths text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  insert into ourvidz.taken_objects as t (bucket, path, user_id, suspended, next_at)
  select p_bucket, path, s.user_id, true, ourvidz.now()
  from ourvidz.suspensions as s, unnest(p_paths) as path
  where s.id = p_id and num_nulls(s.lifted_at) = 1  -- as in artifacts_removed
    and starts_with(path, s.user_id || '/')
    and exists (select from ourvidz.buckets where name = p_bucket and not public and not sealed)
  on conflict (bucket, path) do update set suspended = true where not t.suspended
$$;

ALTER FUNCTION ourvidz.suspension_found(p_id uuid, p_bucket text, p_paths text[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.suspension_lift(p_user uuid, p_actor text) RETURNS boolean
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  update ourvidz.suspensions set lifted_at = greatest(ourvidz.now(), since), lifted_by = p_actor, sweep_at = null
  where user_id = p_user and lifted_at is null;
  if not found then
    return false;
  end if;
  perform ourvidz.moderated('lifted', p_actor, p_user => p_user);
  update ourvidz.taken_objects set suspended = false, tries = 0, next_at = ourvidz.now() where user_id = p_user and suspended;
  delete from ourvidz.taken_objects where user_id = p_user and not down and not suspended and not moved;
  return true;
end
$$;

ALTER FUNCTION ourvidz.suspension_lift(p_user uuid, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.suspension_swept(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  update ourvidz.suspensions set sweeps = sweeps + 1, sweep_at = case when sweeps = 0 then ourvidz.now() + interval '20 minutes' end
  where id = p_id and lifted_at is null
$$;

ALTER FUNCTION ourvidz.suspension_swept(p_id uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.suspensions_take(p_lease double precision) RETURNS TABLE(id uuid, user_id uuid)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select ourvidz.refuse_copy();
  update ourvidz.suspensions as s set sweep_at = ourvidz.now() + make_interval(secs => p_lease)
  where s.id = (select one.id from ourvidz.suspensions as one where one.lifted_at is null and one.sweep_at <= (select ourvidz.now())
                order by one.sweep_at limit 1 for update skip locked)
  returning s.id, s.user_id
$$;

ALTER FUNCTION ourvidz.suspensions_take(p_lease double precision) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.sync_images(p_jobs uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_rows uuid[];
begin
  select array_agg(id) into v_rows
  from (select id from public.images where job_id = any (p_jobs) for no key update skip locked) as held;
  if v_rows is not null then
    update public.images as i
    set status = told.status, image_url = told.image_url, thumbnail_url = told.thumbnail_url, title = coalesce(told.title, i.title),
        enhanced_prompt = coalesce(told.enhanced_prompt, i.enhanced_prompt), file_size = coalesce(told.bytes, i.file_size),
        metadata = coalesce(i.metadata, '{}') || coalesce(told.metadata, '{}'), updated_at = ourvidz.now()
    from (
      select r.id, made.image_url, made.thumbnail_url, made.title, made.enhanced_prompt, made.bytes, made.metadata,
             case when made.image_url is not null then 'completed' when j.completed_at is not null then 'failed'
                  when r.status in ('completed', 'failed') then 'queued' else r.status end as status
      from unnest(v_rows) as held (id)
      cross join lateral (select * from public.images where id = held.id limit 1) as r  -- by its key, however few there are
      join public.jobs as j on j.id = any (array[r.job_id]) and (j.completed_at is null or ourvidz.ended_in_this_system(j.id))
      left join lateral ourvidz.pictures_of(j) as made on made.index = coalesce(r.image_index, 0)
    ) as told
    where i.id = any (array[told.id])
      and ((i.status, i.image_url, i.thumbnail_url) is distinct from (told.status, told.image_url, told.thumbnail_url)
           or coalesce(i.metadata, '{}') is distinct from coalesce(i.metadata, '{}') || coalesce(told.metadata, '{}'));
  end if;

  -- Adds rows for pictures of a job that no front end made rows for (rpc, CLI, Redis), except for pictures that the owner deleted.
  insert into public.images (user_id, project_id, title, prompt, enhanced_prompt, image_url, thumbnail_url, status, metadata, format, quality,
                             job_id, image_index, file_size, created_at, updated_at)
  select j.user_id, (select id from public.projects where id = j.project_id), made.title, made.prompt, made.enhanced_prompt, made.image_url,
         made.thumbnail_url, 'completed', made.metadata || '{"made_at_completion": true}', 'png', made.quality, j.id, made.index, made.bytes,
         ourvidz.now(), ourvidz.now()
  from public.jobs as j
  cross join lateral ourvidz.pictures_of(j) as made
  where j.id = any (p_jobs) and not j.hidden
    and (select true from public.images as i where i.job_id = j.id and coalesce(i.image_index, 0) = made.index limit 1) is null;
  perform ourvidz.images_taken(p_jobs);
end
$$;

ALTER FUNCTION ourvidz.sync_images(p_jobs uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.sync_library(p_jobs uuid[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from public.jobs where id = any (p_jobs) order by id for share;
  perform ourvidz.artifacts_removed(p_jobs);
  perform ourvidz.sync_images(p_jobs);
  perform ourvidz.sync_videos(array_remove(array(select distinct video_id from public.jobs where id = any (p_jobs)), null), false);
end
$$;

ALTER FUNCTION ourvidz.sync_library(p_jobs uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.sync_takedown_rows(p_row ourvidz.takedowns) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_down constant boolean := (select state in ('hidden', 'blocked') from ourvidz.takedowns where subject = p_row.subject);
begin
  update public.artifacts set taken_down = v_down
  where job_id = p_row.job_id and kind in (p_row.kind, 'thumbnail') and index = p_row.index and taken_down <> v_down;
  if p_row.job_id is not null then
    perform ourvidz.images_taken(array[p_row.job_id]);
  else
    perform ourvidz.row_taken(p_row.row_id);
  end if;
  if p_row.kind = 'video' then
    update public.videos set taken_down = v_down, updated_at = ourvidz.now()
    where id = any (array(select p_row.row_id union all select video_id from public.jobs where id = p_row.job_id))
      and (video_job_id = p_row.job_id or id = p_row.row_id) and taken_down <> v_down;
  end if;
end
$$;

ALTER FUNCTION ourvidz.sync_takedown_rows(p_row ourvidz.takedowns) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.sync_videos(p_videos uuid[], p_wait boolean) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_rows uuid[];
  v_row public.videos;
  v_told public.videos;
begin
  if p_wait then
    perform from public.videos where id = any (p_videos) order by id for no key update;
  end if;
  perform ourvidz.lock_names('videos', p_videos::text[]);
  v_rows := array(select id from public.videos where id = any (p_videos) order by id for no key update skip locked);
  for v_row in select * from public.videos where id = any (v_rows) loop
    v_told := ourvidz.video_from_events(v_row);
    continue when v_told is not distinct from v_row;
    update public.videos
    set preview_job_id = v_told.preview_job_id, video_job_id = v_told.video_job_id, current_job_id = v_told.current_job_id,
        approved_at = v_told.approved_at, status = v_told.status, preview_url = v_told.preview_url, video_url = v_told.video_url,
        signed_url = v_told.signed_url, signed_url_expires_at = v_told.signed_url_expires_at, thumbnail_url = v_told.thumbnail_url,
        duration = v_told.duration, resolution = v_told.resolution, completed_at = v_told.completed_at, title = v_told.title,
        error_message = v_told.error_message, metadata = v_told.metadata, updated_at = ourvidz.now()
    where id = v_row.id;
  end loop;
end
$$;

ALTER FUNCTION ourvidz.sync_videos(p_videos uuid[], p_wait boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.takedown(p_subject text, p_state text, p_actor text, p_cause text, p_reviewed boolean DEFAULT true) RETURNS boolean
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row ourvidz.takedowns;
begin
  select * into v_row from ourvidz.takedowns where subject = p_subject for update;
  if v_row.state is distinct from p_state and not (v_row.state = 'blocked' and p_state = 'hidden') then
    update ourvidz.takedowns set state = p_state, cause = p_cause, reviewed = reviewed or p_reviewed, since = ourvidz.now()
    where subject = p_subject;
    perform ourvidz.takedown_objects(p_subject, p_state in ('hidden', 'blocked'));
    if v_row.state = 'blocked' then
      perform ourvidz.unblock_output(p_subject, p_actor);
    end if;
    perform ourvidz.moderated(p_state, p_actor, p_subject => p_subject, p_user => v_row.user_id, p_reason => p_cause);
    perform ourvidz.sync_takedown_rows(v_row);
    return true;
  end if;
  update ourvidz.takedowns set reviewed = true where subject = p_subject and p_reviewed and not reviewed;
  return false;
end
$$;

ALTER FUNCTION ourvidz.takedown(p_subject text, p_state text, p_actor text, p_cause text, p_reviewed boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.takedown_objects(p_subject text, p_down boolean) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  insert into ourvidz.taken_objects as t (bucket, path, user_id, subject, down, next_at)
  select o.bucket, o.path, o.user_id, p_subject, true, ourvidz.now() from ourvidz.objects_of(p_subject) as o where p_down
  on conflict (bucket, path) do update set subject = p_subject, down = true, tries = 0, next_at = excluded.next_at;
  update ourvidz.taken_objects set down = false, tries = 0, next_at = ourvidz.now() where not p_down and subject = p_subject;
  delete from ourvidz.taken_objects where subject = p_subject and not down and not suspended and not moved
$$;

ALTER FUNCTION ourvidz.takedown_objects(p_subject text, p_down boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.takedown_of(p_output ourvidz.takedowns) RETURNS ourvidz.takedowns
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_row ourvidz.takedowns;
begin
  if p_output.subject is not null then
    insert into ourvidz.takedowns (subject, user_id, job_id, kind, index, row_id, since)
    values (p_output.subject, p_output.user_id, p_output.job_id, p_output.kind, p_output.index, p_output.row_id, ourvidz.now())
    on conflict (subject) do nothing;
    select * into v_row from ourvidz.takedowns where subject = p_output.subject for update;
  end if;
  return v_row;
end
$$;

ALTER FUNCTION ourvidz.takedown_of(p_output ourvidz.takedowns) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.terminate_overlong_sessions() RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_one record;
  v_ended bigint := 0;
begin
  for v_one in
    select a.pid, l.name from pg_stat_activity as a join ourvidz.our_logins() as l on l.oid = a.usesysid
    where a.datname = current_database() and a.pid <> pg_backend_pid()
      and (a.xact_start < clock_timestamp() - make_interval(secs => l.transaction_s)
           or (select count(*) > 500 from pg_locks as held where held.pid = a.pid and held.locktype = 'advisory'))
  loop
    begin
      v_ended := v_ended + pg_terminate_backend(v_one.pid)::integer;
    exception when insufficient_privilege then
      raise warning 'a session of login % is over its limits, and may not be ended: run `ourvidz logins repair`', v_one.name;
    end;
  end loop;
  return v_ended;
end
$$;

ALTER FUNCTION ourvidz.terminate_overlong_sessions() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.tests_follow(p_jobs uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_tests constant uuid[] := array(select id from public.jobs where id = any (p_jobs) and metadata ? 'prompt_test_id');
begin
  if v_tests = '{}' then
    return;
  end if;
  update public.model_test_results as t
  set success = j.status = 'completed', image_id = coalesce(j.image_id, shown.id), video_id = j.video_id,
      test_metadata = coalesce(t.test_metadata, '{}') || jsonb_strip_nulls(jsonb_build_object(
        'status', j.status, 'error_message', j.error_message, 'seed', j.metadata->'seed', 'primary_asset', j.metadata->'primary_asset',
        'generation_time', j.metadata->'generation_time'))
  from public.jobs as j
  left join lateral (select id from public.images where job_id = j.id order by coalesce(image_index, 0), created_at limit 1) as shown on true
  where j.id = any (v_tests) and t.job_id = j.id and j.completed_at is not null;
end
$$;

ALTER FUNCTION ourvidz.tests_follow(p_jobs uuid[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.tokens_move() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_even boolean;
  v_spendable boolean;
  v_by_profile boolean;
  v_short record;
begin
  select bool_and(total = 0), bool_or(available), bool_or(kind in ('opening', 'closing')) into v_even, v_spendable, v_by_profile
  from (select kind, sum(amount) as total, bool_or(account = 'available') as available
        from fresh group by user_id, kind, job_id, job_version, key) as transfers;
  if not v_even then
    raise exception 'A transfer of tokens must sum to zero.' using errcode = 'OV004', hint = 'Write all of its rows in one statement.';
  elsif v_by_profile and pg_trigger_depth() < 2 then
    raise exception 'An account is opened by its profile.' using errcode = 'OV004', hint = 'Call ourvidz.grant_tokens or revoke_tokens.';
  elsif v_spendable and not v_by_profile then  -- profiles opened or closed set their own balance
    -- Locked in a statement of its own, so that the next one sees the current rows. A single UPDATE would look for the row versions from
    -- before the wait, and queue behind those who wait for this very transaction.
    perform ourvidz.lock_profiles(array(select distinct user_id from fresh where account = 'available'));
    with changes as materialized (
      select user_id, sum(amount)::bigint as amount from fresh where account = 'available' group by user_id
    ), moved as (
      update public.profiles as p set token_balance = p.token_balance + c.amount
      from changes as c where p.id = c.user_id and p.token_balance + c.amount >= 0
    )
    select c.user_id, -c.amount as needed, coalesce(p.token_balance, 0) as balance into v_short
    from changes as c left join public.profiles as p on p.id = c.user_id
    where coalesce(p.token_balance, 0) + c.amount < 0 and c.amount < 0 limit 1;
    if v_short.user_id is not null then
      raise exception 'This takes % tokens, and the balance of profile % is %.', v_short.needed, v_short.user_id, v_short.balance
        using errcode = 'OV014', hint = 'Nothing was written, nothing charged.',
              detail = json_build_object('needed', v_short.needed, 'balance', v_short.balance)::text;
    end if;
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.tokens_move() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.typical_seconds() RETURNS TABLE(job_type text, seconds double precision)
    LANGUAGE sql STABLE
    AS $$
  select kind.name, coalesce(lately.seconds, kind.expected_seconds)
  from ourvidz.job_types as kind
  left join (
    select ended.job_type, percentile_cont(0.5) within group (order by extract(epoch from done.occurred_at - claimed.occurred_at)::float8) as seconds
    from (select * from public.job_events order by xid desc, seq desc limit 2000) as done
    join public.jobs as ended on ended.id = done.job_id
    join public.job_events as claimed on claimed.job_id = done.job_id and claimed.type = 'claimed' and claimed.claim_no = done.claim_no
    where done.type = 'completed' group by ended.job_type
  ) as lately on lately.job_type = kind.name
$$;

ALTER FUNCTION ourvidz.typical_seconds() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.unblock_output(p_subject text, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  delete from ourvidz.blocked_hashes where subject = p_subject;
  if found then
    perform ourvidz.moderated('hash_removed', p_actor, p_subject => p_subject);
  end if;
end
$$;

ALTER FUNCTION ourvidz.unblock_output(p_subject text, p_actor text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.unlimited_logins() RETURNS TABLE(login name, roles name[], lacks text[])
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  select l.name, l.roles,
         array(select format('%s is %s, not %s', s.setting, coalesce(s.value, 'not set'), s.wanted) from ourvidz.limits_of(l.name) as s
               where s.value is distinct from s.wanted)
         || case when r.rolconnlimit = -1 or r.rolconnlimit > l.connections then array['any number of connections'] else '{}' end
         || case when pg_has_role('ourvidz_owner', l.oid, 'usage') then '{}' else array['the reaper may not end its sessions'] end
  from ourvidz.our_logins() as l join pg_roles as r on r.oid = l.oid
$$;

ALTER FUNCTION ourvidz.unlimited_logins() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.url_decoded(p text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  return case when strpos(p, '%') > 0 then convert_from(decode((
    select string_agg(case when starts_with(part, '%') then substr(part, 2) else encode(convert_to(part, 'UTF8'), 'hex') end, '' order by n)
    from (select m[1] as part, row_number() over () as n from regexp_matches(p, '%[0-9A-Fa-f]{2}|.', 'g') as m) as parts), 'hex'), 'UTF8') else p end;
exception when character_not_in_repertoire or untranslatable_character then
  return p;
end
$$;

ALTER FUNCTION ourvidz.url_decoded(p text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.usage_follow(p_events public.job_events[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into public.usage_logs (user_id, action, format, quality, tokens_consumed, metadata, created_at, job_id, job_version)
  select j.user_id, told.action, case when kind.video then 'video' else 'image' end, case when kind.fast then 'fast' else 'high' end,
         moved.captured, jsonb_strip_nulls(jsonb_build_object('job_type', j.job_type, 'held', moved.held, 'refunded', moved.refunded)),
         e.occurred_at, e.job_id, e.version
  from unnest(p_events) as e
  join (values ('submitted', 'job_queued'), ('retried', 'job_queued'), ('completed', 'job_completed'), ('failed', 'job_failed'),
               ('cancelled', 'job_cancelled')) as told (type, action) on told.type = e.type
  cross join lateral (select user_id, job_type from public.jobs where id = e.job_id limit 1) as j
  join ourvidz.job_types as kind on kind.name = j.job_type
  cross join lateral (
    select coalesce(sum(amount) filter (where kind = 'capture'), 0) as captured, sum(-amount) filter (where kind = 'hold') as held,
           sum(amount) filter (where kind = 'release') as refunded
    from ourvidz.token_entries where job_id = e.job_id and job_version = e.version and account in ('available', 'revenue')
  ) as moved
  where (select id from public.profiles where id = j.user_id) is not null;  -- a deleted profile has no report
end
$$;

ALTER FUNCTION ourvidz.usage_follow(p_events public.job_events[]) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.utc_text(p timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ select case when isfinite(p) then to_jsonb(p at time zone 'UTC') #>> '{}' || '+00:00' else p::text end $$;

ALTER FUNCTION ourvidz.utc_text(p timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.verdict(p jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select p || jsonb_strip_nulls(jsonb_build_object(
    'category', case when not ourvidz.matches_kind(p->'category', kinds->'category') then 'image' else p->>'category' end,
    'policy_version', case when not ourvidz.matches_kind(p->'policy_version', kinds->'policy_version')
                           then 'image-' || left(encode(sha256(convert_to(p->>'policy_version', 'UTF8')), 'hex'), 8) else p->>'policy_version' end,
    'rule_id', case when not ourvidz.matches_kind(p->'rule_id', kinds->'rule_id')
                    then 'image-' || left(encode(sha256(convert_to(p->>'rule_id', 'UTF8')), 'hex'), 8) else p->>'rule_id' end))
  from ourvidz.event_types where name = 'failed'
$$;

ALTER FUNCTION ourvidz.verdict(p jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.verified_follow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v record;
  v_start float8;
  v_step float8;
begin
  for v in
    select lane, array_agg(id order by created_at, id) as jobs, array_agg(priority order by created_at, id) as priorities
    from (select * from public.jobs
          where user_id = new.id and status = 'queued' and not coalesce(ready, true) and run_at is null order by id for update) as waiting
    group by lane order by lane
  loop
    select start, step into v_start, v_step from ourvidz.next_rank(new.id, v.lane, cardinality(v.jobs));
    perform ourvidz.append(v.jobs, 'reprioritised', (
      select array_agg(jsonb_build_object('priority', priority, 'rank', ourvidz.json_number(v_start + (n - 1) * v_step + ourvidz.priority_offset(priority)),
                                          'run_at', ourvidz.utc_text(ourvidz.now())) order by n)
      from unnest(v.priorities) with ordinality as each (priority, n)), 'system');
  end loop;
  perform ourvidz.wake(lane, count(*)) from public.jobs where user_id = new.id and coalesce(ready, false) group by lane;
  return null;
end
$$;

ALTER FUNCTION ourvidz.verified_follow() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.verify_age(p_user uuid, p_verified boolean, p_how text, p_by text, p_until timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS ourvidz.age_reviews
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_made ourvidz.age_reviews;
begin
  if length(trim(p_how)) between 1 and 500 is not true then
    raise exception 'How the age was judged must be said, in 1 to 500 characters.' using errcode = 'OV009', column = 'how';
  elsif p_verified is null then
    raise exception 'Whether the age is verified must be said: true or false.' using errcode = 'OV009', column = 'verified';
  elsif p_verified and p_until <= ourvidz.now() then
    raise exception 'The verification would have run out already: %.', p_until using errcode = 'OV009', column = 'until';
  end if;
  -- Serialises decisions on one user. Does not wait for an unfinished job, whose holder may want this row next (ourvidz.stop_jobs).
  perform from public.profiles where id = p_user and erased_at is null for no key update;
  if not found then
    raise exception 'There is no profile %, or it was erased.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  v_made := ourvidz.age_decided(p_user, case when p_verified then 'verified' else 'refused' end, p_by, trim(p_how),
                                case when p_verified then p_until end);
  update public.profiles set age_verified = p_verified, age_verified_until = v_made.verified_until where id = p_user;
  return v_made;
end
$$;

ALTER FUNCTION ourvidz.verify_age(p_user uuid, p_verified boolean, p_how text, p_by text, p_until timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.video_from_events(v public.videos) RETURNS public.videos
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_preview record;
  v_final record;
  v_current record;
  v_made record;
begin
  select * into v_preview from ourvidz.newest_stage_job(v, false);
  select * into v_final from ourvidz.newest_stage_job(v, true);
  if (v_final.began, v_final.seq) > (v_preview.began, v_preview.seq) or v_preview.id is null then
    v_current := v_final;
  else
    v_current := v_preview;
  end if;
  -- The job is gone: its owner deleted it and its outputs.
  if v.preview_job_id is not null and v_preview.id is distinct from v.preview_job_id then
    v.preview_url := null;
  end if;
  if v.video_job_id is not null and v_final.id is null then
    v.video_url := null;
    v.signed_url := null;
  end if;
  if v_preview.began > v.approved_at or v.approved_at is not null and v_preview.id is distinct from v.preview_job_id then
    v.approved_at := null;  -- a new preview, or the same one made again
  end if;
  v.preview_job_id := v_preview.id;
  v.video_job_id := v_final.id;
  if v.current_job_id is not null and v_current.id is null then
    v.status := 'draft';
  end if;
  v.current_job_id := v_current.id;
  v.status := coalesce(v_current.shown, v.status);

  for v_made in select * from ourvidz.stage_output(v_preview.id, false) union all select * from ourvidz.stage_output(v_final.id, true) order by made_at loop
    v.thumbnail_url := coalesce(v_made.thumbnail_url, v.thumbnail_url);
    v.resolution := v_made.resolution;
    if v_made.final then
      v.video_url := v_made.path;
      v.signed_url := v_made.path;
      v.signed_url_expires_at := v_made.made_at + interval '1 day';
      v.duration := v_made.seconds;
      v.completed_at := v_made.made_at;
      v.title := coalesce(v.title, v_made.title);
      v.metadata := coalesce(v.metadata, '{}') || v_made.metadata || jsonb_build_object('bucket', v_made.bucket, 'stored_path', v_made.path);
    else
      v.preview_url := v_made.path;
      v.metadata := coalesce(v.metadata, '{}') || jsonb_build_object('preview_bucket', v_made.bucket);
    end if;
    v.metadata := v.metadata || jsonb_strip_nulls(jsonb_build_object('thumbnail_bucket', v_made.thumbnail_bucket));
  end loop;
  if v_current.shown is not null then
    v.error_message := case when v.status in ('failed', 'cancelled')
                            then coalesce((select error_message from public.job_payloads where job_id = v_current.id), v.status) end;
  end if;
  return v;
end
$$;

ALTER FUNCTION ourvidz.video_from_events(v public.videos) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.videos_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  perform from public.jobs where video_id = new.id order by id for share;
  if found then
    perform ourvidz.sync_videos(array[new.id], false);
  end if;
  return null;
end
$$;

ALTER FUNCTION ourvidz.videos_changed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.videos_guard() RETURNS trigger
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  if current_user <> 'ourvidz_owner' then
    raise exception 'Scene %: its status, urls, jobs, duration and resolution follow its jobs'' events.', new.id
      using errcode = 'OV004', hint = 'Queue a job with this video_id, or call approve_preview.';
  end if;
  return new;
end
$$;

ALTER FUNCTION ourvidz.videos_guard() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.videos_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  j public.jobs;
  v_film boolean;
begin
  for j in select * from public.jobs where video_id = old.id order by id for update loop
    continue when j.video_id is distinct from old.id;  -- a concurrent deletion came first
    v_film := coalesce((select video from ourvidz.job_types where name = j.job_type), false);
    perform ourvidz.append(array[j.id], 'removed', array[
      case when v_film then jsonb_build_object('what', 'output', 'kind', 'video', 'index', 0, 'video_id', old.id)
           else jsonb_build_object('what', 'output', 'video_id', old.id) end], ourvidz.actor(j.user_id));
    if v_film then
      perform ourvidz.artifacts_removed(array[j.id]);
    end if;
  end loop;
  return old;
end
$$;

ALTER FUNCTION ourvidz.videos_removed() OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.virtual_time(p_lane text) RETURNS double precision
    LANGUAGE sql STABLE
    AS $$
  select coalesce(
    (select rank - ourvidz.priority_offset(priority) from public.jobs where ready and lane = p_lane order by rank, run_at limit 1),
    (select finish from ourvidz.shares where lane = p_lane order by finish desc limit 1),
    0)
$$;

ALTER FUNCTION ourvidz.virtual_time(p_lane text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.waits_for(j public.jobs) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_why text;
  v_age jsonb;
begin
  if j.completed_at is not null and not (j.status = 'cancelled' and exists (
       select from public.job_events as e where e.job_id = j.id and e.type in ('cancelled', 'cancel_requested') and e.data ? 'reason')) then
    return null;
  end if;
  v_why := ourvidz.why_not_run(j.user_id);
  if v_why is null then
    return case when j.completed_at is not null
                then jsonb_build_object('reason', 'stopped', 'next', 'The job was stopped, and can be made again: retry it.') end;
  elsif v_why in ('unverified', 'expired') then
    v_age := ourvidz.age_of(j.user_id);
    return jsonb_build_object('reason', 'age_' || (v_age->>'status'), 'next', v_age->'next', 'page', (select help_url || '#age' from ourvidz.policy));
  end if;
  return jsonb_build_object('reason', v_why, 'next', case v_why when 'suspended' then 'Your account is suspended. You may appeal once.'
                                                     else 'No job is made for this user.' end);
end
$$;

ALTER FUNCTION ourvidz.waits_for(j public.jobs) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.wake(p_lane text, p_jobs bigint) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_executor uuid;
begin
  if not exists (select from ourvidz.executors where waiting and state = 'active' and p_lane = any (lanes)) then
    return;
  end if;
  for v_executor in
    update ourvidz.executors as e set waiting = false
    where e.id = any (array(select id from ourvidz.executors
                            where waiting and state = 'active' and p_lane = any (lanes) and lease_until > v_now
                            order by (p_lane = any (resident)) desc
                            limit p_jobs for update skip locked))
    returning e.id
  loop
    perform pg_notify('ourvidz', v_executor::text);
  end loop;
end
$$;

ALTER FUNCTION ourvidz.wake(p_lane text, p_jobs bigint) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.weighted_prompt(p_prompt text, p_chosen jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
declare
  v_weights constant text := trim(p_chosen->>'compel_weights');
begin
  if jsonb_typeof(p_chosen->'compel_weights') <> 'string' then
    raise exception 'compel_weights must be text.' using errcode = 'OV009', column = 'compel_weights';
  elsif exists (select from regexp_matches(v_weights, '(?::[[:space:]]*|[)])([0-9]+(?:[.][0-9]+)?|[.][0-9]+)', 'g') as m where m[1]::numeric > 2) then
    raise exception 'A weight in compel_weights is from 0 to 2.' using errcode = 'OV009', column = 'compel_weights';
  elsif length(p_prompt) + length(v_weights) > 3998 then
    raise exception 'The prompt and compel_weights may have 4,000 characters together.' using errcode = 'OV009', column = 'compel_weights';
  end if;
  return p_prompt || case when v_weights = '' then '' else ', ' || v_weights end;
end
$$;

ALTER FUNCTION ourvidz.weighted_prompt(p_prompt text, p_chosen jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.why_no_consent(p_user uuid, p_sha256 text) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case
    when not exists (select from public.consents where user_id = p_user and sha256 = p_sha256)
     and not ourvidz.is_made_for(p_user, p_sha256) then 'unattested'
    else (select case when bool_or(ourvidz.is_withdrawn(o.user_id, o.sha256)) then 'withdrawn' when count(*) > 1000 then 'too_deep' end
          from ourvidz.origins(p_user, p_sha256) as o) end
$$;

ALTER FUNCTION ourvidz.why_no_consent(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.why_not_reroute(p_job uuid, p_type text, p_settings jsonb) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case
    when fallback.name is null then format('a %s has no fallback', p_type)
    when coalesce(p_settings->'references', '{}') <> '{}' then format('it has reference pictures, which mean something else to a %s', fallback.name)
    when not fallback.limits->'images'->'in' @> jsonb_build_array(p_settings->'images')
      then format('it is a batch of %s, and a %s makes one image a job', p_settings->>'images', fallback.name)
    when exists (select from public.artifacts where job_id = p_job) then 'it has outputs of an earlier attempt, which the next one goes on with'
  end
  from (select p_type) as one (type)
  left join ourvidz.job_types as kind on kind.name = one.type
  left join ourvidz.job_types as fallback on fallback.name = kind.fallback
$$;

ALTER FUNCTION ourvidz.why_not_reroute(p_job uuid, p_type text, p_settings jsonb) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.why_not_run(user_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
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

ALTER FUNCTION ourvidz.why_not_run(user_id uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.wire_side(p_size jsonb, p_place integer) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
begin
  if coalesce(jsonb_typeof(p_size) <> 'string' or p_size #>> '{}' !~ '^[0-9]{1,5}[*][0-9]{1,5}$', true) then
    raise exception 'size must be written like 480*832.' using errcode = 'OV009', column = 'size';
  end if;
  return to_jsonb(split_part(p_size #>> '{}', '*', p_place)::integer);
end
$_$;

ALTER FUNCTION ourvidz.wire_side(p_size jsonb, p_place integer) OWNER TO ourvidz_owner;

CREATE FUNCTION ourvidz.withdraw(p_user uuid, p_sha256 text) RETURNS boolean
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  update public.consents set withdrawn_at = greatest(ourvidz.now(), attested_at)
  where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null;
  return found;
end
$$;

ALTER FUNCTION ourvidz.withdraw(p_user uuid, p_sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.age_message(provider text, message_id text, user_id uuid, decision text, reference text DEFAULT NULL::text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, said_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('age_message', jsonb_build_object(
    'provider', age_message.provider, 'message_id', age_message.message_id, 'user_id', age_message.user_id,
    'decision', age_message.decision, 'reference', age_message.reference, 'until', age_message.until, 'said_at', age_message.said_at))
$$;

ALTER FUNCTION public.age_message(provider text, message_id text, user_id uuid, decision text, reference text, until timestamp with time zone, said_at timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION public.age_status() RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('age_status', '{}') $$;

ALTER FUNCTION public.age_status() OWNER TO ourvidz_owner;

CREATE FUNCTION public.appeal(said text, output text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('appeal', jsonb_build_object('said', left(appeal.said, 2001), 'output', left(appeal.output, 501))) $$;

ALTER FUNCTION public.appeal(said text, output text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.approve_preview(video_id uuid, job_type text DEFAULT 'video_high'::text, config jsonb DEFAULT '{}'::jsonb, idempotency_key text DEFAULT NULL::text, index integer DEFAULT 0, charge boolean DEFAULT false) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('approve_preview', jsonb_build_object(
    'video_id', approve_preview.video_id, 'job_type', approve_preview.job_type, 'config', approve_preview.config,
    'idempotency_key', approve_preview.idempotency_key, 'index', approve_preview.index,
    'charge', approve_preview.charge))
$$;

ALTER FUNCTION public.approve_preview(video_id uuid, job_type text, config jsonb, idempotency_key text, index integer, charge boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION public.ask_enhancement(prompt text, job_type text DEFAULT NULL::text, format text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('ask_enhancement', jsonb_build_object('prompt', ask_enhancement.prompt, 'job_type', ask_enhancement.job_type,
                                                              'format', ask_enhancement.format))
$$;

ALTER FUNCTION public.ask_enhancement(prompt text, job_type text, format text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.attest_consent(sha256 text, statement_version text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('attest_consent', jsonb_build_object('sha256', attest_consent.sha256, 'version', attest_consent.statement_version))
$$;

ALTER FUNCTION public.attest_consent(sha256 text, statement_version text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.before_request() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
declare
  v_headers constant json := nullif(current_setting('request.headers', true), '')::json;
  v_most bigint;
begin
  if v_headers->>'content-length' is null and v_headers->>'transfer-encoding' is not null
     and current_setting('request.method', true) in ('POST', 'PATCH', 'PUT') then
    raise sqlstate 'PGRST' using
      message = '{"code": "OV040", "message": "The request does not say how long it is.", "hint": "Send a Content-Length."}',
      detail = '{"status": 411, "headers": {}}';
  elsif length(v_headers->>'content-length') > 4 then
    v_most := public.request_bytes();
    if (v_headers->>'content-length')::numeric > v_most then
      raise sqlstate 'PGRST' using
        message = format('{"code": "OV040", "message": "A request may have at most %s bytes."}', v_most),
        detail = '{"status": 413, "headers": {}}';
    end if;
  end if;
  if current_user = 'authenticated'
     and nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'app_metadata' ->> 'role' = 'admin' then
    perform set_config('role', 'ourvidz_admin', true);
  end if;
end
$$;

ALTER FUNCTION public.before_request() OWNER TO ourvidz_owner;

CREATE FUNCTION public.cancel_job(job_id uuid, version integer DEFAULT NULL::integer) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('cancel_job', jsonb_build_object('job_id', cancel_job.job_id, 'version', cancel_job.version)) $$;

ALTER FUNCTION public.cancel_job(job_id uuid, version integer) OWNER TO ourvidz_owner;

CREATE FUNCTION public.enhancement(request_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('enhancement', jsonb_build_object('request_id', enhancement.request_id)) $$;

ALTER FUNCTION public.enhancement(request_id uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION public.file_report(id uuid, category text, source text, output text DEFAULT NULL::text, contact text DEFAULT NULL::text, signature text DEFAULT NULL::text, said text DEFAULT NULL::text, good_faith boolean DEFAULT false) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('file_report', jsonb_build_object(
    'id', file_report.id, 'category', file_report.category, 'source', file_report.source, 'output', left(file_report.output, 501),
    'contact', left(file_report.contact, 255), 'signature', left(file_report.signature, 201), 'said', left(file_report.said, 4001),
    'good_faith', file_report.good_faith))
$$;

ALTER FUNCTION public.file_report(id uuid, category text, source text, output text, contact text, signature text, said text, good_faith boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION public.has_role(_user_id uuid, _role public.app_role) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select case when caller.user_id = _user_id and _role::text = 'admin' then caller.admin
              else (caller.role is null or caller.role = 'service_role' or caller.admin or caller.user_id is not distinct from _user_id)
                   and exists (select from public.user_roles where user_id = _user_id and role = _role) end
  from ourvidz.caller() as caller
$$;

ALTER FUNCTION public.has_role(_user_id uuid, _role public.app_role) OWNER TO ourvidz_owner;

CREATE FUNCTION public.job_status(job_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('job_status', jsonb_build_object('job_id', job_status.job_id)) $$;

ALTER FUNCTION public.job_status(job_id uuid) OWNER TO ourvidz_owner;

CREATE FUNCTION public.job_types() RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select jsonb_agg(jsonb_build_object(
    'name', k.name, 'label', k.label, 'family', k.family, 'price', k.price, 'media_type', k.media_type, 'bucket', k.name,
    'bucket_bytes', k.bucket_bytes, 'enhances', k.enhance, 'needs_image', k.init_image, 'sizes', k.limits->'size'->'in',
    'steps', jsonb_build_object('min', k.limits->'steps'->0, 'max', k.limits->'steps'->1, 'default', k.defaults->'steps'),
    'images', k.limits->'images'->'in', 'references', k.limits->'slots'->'in', 'limits', (k.limits - '{slots,size}'::text[]) #- '{scheduler,same}' #- '{scheduler,noise}' #- '{sampler,same}' #- '{sampler,noise}',
    'defaults', k.defaults, 'time_limit_seconds', k.time_limit, 'expected_seconds', round(t.seconds::numeric, 1))
    order by k.family, k.video, k.price, k.name)
  from ourvidz.job_types as k
  join ourvidz.typical_seconds() as t on t.job_type = k.name
$$;

ALTER FUNCTION public.job_types() OWNER TO ourvidz_owner;

CREATE FUNCTION public.moderate(verb text, report uuid DEFAULT NULL::uuid, output text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('moderate', jsonb_build_object('verb', verb, 'report', report, 'output', left(moderate.output, 501)))
$$;

ALTER FUNCTION public.moderate(verb text, report uuid, output text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.my_restrictions() RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('my_restrictions', '{}') $$;

ALTER FUNCTION public.my_restrictions() OWNER TO ourvidz_owner;

CREATE FUNCTION public.queue_job(job_type text, prompt text DEFAULT NULL::text, negative_prompt text DEFAULT NULL::text, config jsonb DEFAULT '{}'::jsonb, metadata jsonb DEFAULT '{}'::jsonb, project_id uuid DEFAULT NULL::uuid, video_id uuid DEFAULT NULL::uuid, image_id uuid DEFAULT NULL::uuid, character_id uuid DEFAULT NULL::uuid, idempotency_key text DEFAULT NULL::text, dry_run boolean DEFAULT false) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('queue_job', jsonb_build_object(
    'job_type', queue_job.job_type, 'prompt', queue_job.prompt, 'negative_prompt', queue_job.negative_prompt, 'config', queue_job.config,
    'metadata', queue_job.metadata, 'project_id', queue_job.project_id, 'video_id', queue_job.video_id, 'image_id', queue_job.image_id,
    'character_id', queue_job.character_id, 'idempotency_key', queue_job.idempotency_key,
    'dry_run', queue_job.dry_run))
$$;

ALTER FUNCTION public.queue_job(job_type text, prompt text, negative_prompt text, config jsonb, metadata jsonb, project_id uuid, video_id uuid, image_id uuid, character_id uuid, idempotency_key text, dry_run boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION public.read_prompt(job_id uuid, reason text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('read_prompt', jsonb_build_object('job_id', read_prompt.job_id, 'reason', read_prompt.reason))
$$;

ALTER FUNCTION public.read_prompt(job_id uuid, reason text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.report_queue(closed boolean DEFAULT false) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('report_queue', jsonb_build_object('closed', closed)) $$;

ALTER FUNCTION public.report_queue(closed boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION public.report_refusal(category text, policy_version text, rule_id text DEFAULT NULL::text, digest text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('report_refusal', jsonb_build_object(
    'category', report_refusal.category, 'policy_version', report_refusal.policy_version, 'rule_id', report_refusal.rule_id,
    'digest', report_refusal.digest))
$$;

ALTER FUNCTION public.report_refusal(category text, policy_version text, rule_id text, digest text) OWNER TO ourvidz_owner;

CREATE FUNCTION public.request_age_review() RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('request_age_review', '{}') $$;

ALTER FUNCTION public.request_age_review() OWNER TO ourvidz_owner;

CREATE FUNCTION public.request_bytes() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select request_bytes from ourvidz.limits $$;

ALTER FUNCTION public.request_bytes() OWNER TO ourvidz_owner;

CREATE FUNCTION public.retry_job(job_id uuid, version integer DEFAULT NULL::integer, charge boolean DEFAULT false) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('retry_job', jsonb_build_object('job_id', retry_job.job_id, 'version', retry_job.version, 'charge', retry_job.charge))
$$;

ALTER FUNCTION public.retry_job(job_id uuid, version integer, charge boolean) OWNER TO ourvidz_owner;

CREATE FUNCTION public.verify_age(user_id uuid, verified boolean, how text, until timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$
  select ourvidz.rpc('verify_age', jsonb_build_object('user_id', verify_age.user_id, 'verified', verify_age.verified,
                                                         'how', verify_age.how, 'until', verify_age.until))
$$;

ALTER FUNCTION public.verify_age(user_id uuid, verified boolean, how text, until timestamp with time zone) OWNER TO ourvidz_owner;

CREATE FUNCTION public.withdraw_consent(sha256 text) RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'ourvidz', 'pg_temp'
    AS $$ select ourvidz.rpc('withdraw_consent', jsonb_build_object('sha256', withdraw_consent.sha256)) $$;

ALTER FUNCTION public.withdraw_consent(sha256 text) OWNER TO ourvidz_owner;

CREATE FUNCTION storage.foldername(name text) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    AS $$ select (string_to_array(name, '/'))[1:array_length(string_to_array(name, '/'), 1) - 1] $$;

ALTER FUNCTION storage.foldername(name text) OWNER TO ourvidz;

CREATE AGGREGATE ourvidz.fold(public.job_events) (
    SFUNC = ourvidz.evolve_step,
    STYPE = public.jobs
);

ALTER AGGREGATE ourvidz.fold(public.job_events) OWNER TO ourvidz_owner;

CREATE TABLE auth.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text,
    raw_app_meta_data jsonb DEFAULT '{}'::jsonb NOT NULL,
    raw_user_meta_data jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_sign_in_at timestamp with time zone
);

ALTER TABLE auth.users OWNER TO ourvidz;

CREATE TABLE ourvidz.age_ends (
    user_id uuid NOT NULL,
    until timestamp with time zone NOT NULL
);

ALTER TABLE ourvidz.age_ends OWNER TO ourvidz_owner;

COMMENT ON TABLE ourvidz.age_ends IS 'Whose verification runs out when, for the reaper: a copy of profiles.age_verified_until, kept by a trigger.';

CREATE TABLE ourvidz.age_messages (
    provider text NOT NULL,
    message_id text NOT NULL,
    user_id uuid NOT NULL,
    said_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    CONSTRAINT age_messages_message_id_check CHECK (((length(message_id) >= 1) AND (length(message_id) <= 200))),
    CONSTRAINT age_messages_provider_check CHECK ((provider ~ '^[a-z0-9_-]{1,40}$'::text))
);

ALTER TABLE ourvidz.age_messages OWNER TO ourvidz_owner;

COMMENT ON TABLE ourvidz.age_messages IS 'Messages of providers of age verification that were taken in, so that none is taken in twice. Kept for 90 days.';

ALTER TABLE ourvidz.age_reviews ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.age_reviews_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.alembic_version (
    version_num character varying(32) NOT NULL
);

ALTER TABLE ourvidz.alembic_version OWNER TO ourvidz;

CREATE TABLE ourvidz.blocked_hashes (
    id bigint NOT NULL,
    sha256 text,
    pdq bit(256),
    source text NOT NULL,
    report_id uuid,
    subject text,
    added_at timestamp with time zone NOT NULL,
    CONSTRAINT blocked_hashes_check CHECK ((num_nonnulls(sha256, pdq) = 1)),
    CONSTRAINT blocked_hashes_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT blocked_hashes_source_check CHECK ((source ~ '^[A-Za-z0-9._-]{1,80}$'::text))
);

ALTER TABLE ourvidz.blocked_hashes OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.blocked_hashes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.blocked_hashes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.buckets (
    name text NOT NULL,
    public boolean NOT NULL,
    uploads boolean NOT NULL,
    max_bytes bigint NOT NULL,
    media_types text[] NOT NULL,
    sealed boolean DEFAULT false NOT NULL
);

ALTER TABLE ourvidz.buckets OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.buckets.sealed IS 'Nobody reads or writes it through a policy, admins included: the service key alone.';

CREATE TABLE ourvidz.catalog_states (
    kind text NOT NULL,
    name text NOT NULL,
    state jsonb NOT NULL
);

ALTER TABLE ourvidz.catalog_states OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.column_kinds (
    name text NOT NULL,
    kind jsonb NOT NULL
);

ALTER TABLE ourvidz.column_kinds OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.enhancement_requests (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    style text NOT NULL,
    prompt text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    claim_no integer DEFAULT 0 NOT NULL,
    lease_until timestamp with time zone,
    enhanced text,
    failed text,
    figures jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT enhancement_requests_check CHECK ((num_nonnulls(enhanced, failed) < 2)),
    CONSTRAINT enhancement_requests_enhanced_check CHECK (((length(enhanced) >= 1) AND (length(enhanced) <= 8000))),
    CONSTRAINT enhancement_requests_failed_check CHECK ((failed ~ '^[a-z_]{1,40}$'::text)),
    CONSTRAINT enhancement_requests_prompt_check CHECK (((length(prompt) >= 1) AND (length(prompt) <= 4000))),
    CONSTRAINT enhancement_requests_style_check CHECK ((style = ANY (ARRAY['sdxl'::text, 'wan'::text, 'wan_image'::text])))
);

ALTER TABLE ourvidz.enhancement_requests OWNER TO ourvidz_owner;

COMMENT ON TABLE ourvidz.enhancement_requests IS 'Short-lived: deleted five minutes after they were asked for.';

COMMENT ON COLUMN ourvidz.enhancement_requests.claim_no IS 'Fences the answer: an enhancer whose lease ran out may not give one.';

COMMENT ON COLUMN ourvidz.enhancement_requests.figures IS 'What the answer took: seconds, tokens, and a note where no real model wrote it.';

CREATE TABLE ourvidz.enhancers (
    name text NOT NULL,
    beat_at timestamp with time zone NOT NULL,
    waiting boolean DEFAULT false NOT NULL,
    CONSTRAINT enhancers_name_check CHECK ((name ~ '^[A-Za-z0-9._:-]{1,120}$'::text))
);

ALTER TABLE ourvidz.enhancers OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.erasure_rules (
    n integer NOT NULL,
    kind text NOT NULL,
    relation text NOT NULL,
    whose text NOT NULL,
    blank jsonb,
    unless text NOT NULL
);

ALTER TABLE ourvidz.erasure_rules OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.erasures ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.erasures_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.event_types (
    name text NOT NULL,
    keys text[] NOT NULL,
    kinds jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE ourvidz.event_types OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.executors (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    lanes text[] NOT NULL,
    resident text[] DEFAULT '{}'::text[] NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    waiting boolean DEFAULT false NOT NULL,
    lane text,
    lane_since timestamp with time zone,
    started_at timestamp with time zone NOT NULL,
    beat_at timestamp with time zone NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    secret uuid DEFAULT gen_random_uuid() NOT NULL,
    info jsonb DEFAULT '{}'::jsonb NOT NULL,
    reference_pictures text,
    login name,
    called text NOT NULL,
    CONSTRAINT executors_name_check CHECK ((name ~ '^[A-Za-z0-9._-]{1,80}$'::text)),
    CONSTRAINT executors_reference_pictures CHECK ((reference_pictures = ANY (ARRAY['screened'::text, 'unscreened'::text, 'refused'::text, 'tiny'::text]))),
    CONSTRAINT executors_state_check CHECK ((state = ANY (ARRAY['active'::text, 'draining'::text, 'gone'::text])))
)
WITH (fillfactor='50');

ALTER TABLE ourvidz.executors OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.executors.secret IS 'Claims'' tokens are drawn from it (ourvidz.claim_token); it never leaves the database.';

CREATE VIEW ourvidz.fleet AS
 SELECT executors.id,
        CASE
            WHEN sees."all" THEN executors.name
            ELSE executors.called
        END AS name,
        CASE
            WHEN sees."all" THEN executors.host
            ELSE NULL::text
        END AS host,
    executors.pid,
    executors.lanes,
    executors.resident,
    executors.state,
    executors.waiting,
    executors.lane,
    executors.lane_since,
    executors.started_at,
    executors.beat_at,
    executors.lease_until,
        CASE
            WHEN sees."all" THEN executors.info
            ELSE '{}'::jsonb
        END AS info,
    executors.reference_pictures
   FROM (ourvidz.executors
     CROSS JOIN ( SELECT has_column_privilege('ourvidz.executors'::text, 'info'::text, 'select'::text) AS "all") sees);

ALTER VIEW ourvidz.fleet OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.import_decisions (
    user_id uuid NOT NULL,
    what text NOT NULL,
    older_value text NOT NULL,
    believed boolean NOT NULL,
    decided_by text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT import_decisions_what_check CHECK ((what = ANY (ARRAY['role'::text, 'balance'::text, 'plan'::text, 'age'::text])))
);

ALTER TABLE ourvidz.import_decisions OWNER TO ourvidz_owner;

COMMENT ON TABLE ourvidz.import_decisions IS 'What users of the older system had written about themselves, and whether the operator believed it.';

CREATE TABLE ourvidz.intake_counts (
    day date NOT NULL,
    queue text NOT NULL,
    outcome text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    n bigint NOT NULL
);

ALTER TABLE ourvidz.intake_counts OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.intake_messages (
    seq bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    queue text NOT NULL,
    outcome text NOT NULL,
    message_id uuid,
    digest bytea NOT NULL,
    reason text,
    field text,
    CONSTRAINT intake_messages_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT intake_messages_outcome_check CHECK ((outcome = ANY (ARRAY['drained'::text, 'joined'::text, 'repeated'::text, 'refused'::text])))
);

ALTER TABLE ourvidz.intake_messages OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.intake_messages ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.intake_messages_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.job_references (
    job_id uuid NOT NULL,
    sha256 text NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    CONSTRAINT job_references_sha256 CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text))
);

ALTER TABLE ourvidz.job_references OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.legal_holds ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.legal_holds_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.limits (
    only_row boolean DEFAULT true NOT NULL,
    request_bytes bigint NOT NULL,
    text_bytes integer NOT NULL,
    json_bytes integer NOT NULL,
    settings_bytes integer NOT NULL,
    row_bytes integer NOT NULL,
    write_bytes bigint NOT NULL,
    upload_objects integer NOT NULL,
    CONSTRAINT limits_only_row_check CHECK (only_row)
);

ALTER TABLE ourvidz.limits OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.locks (
    kind text NOT NULL,
    slot integer NOT NULL
);

ALTER TABLE ourvidz.locks OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.logins (
    name name NOT NULL,
    lanes text[],
    minute timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    claims integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ourvidz.logins OWNER TO ourvidz_owner;

COMMENT ON TABLE ourvidz.logins IS 'Logins of executors: the lanes they may serve, and what they claimed in the last minute.';

CREATE TABLE ourvidz.moderation_events (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    type text NOT NULL,
    actor text NOT NULL,
    report_id uuid,
    subject text,
    user_id uuid,
    appeal_id uuid,
    reason text,
    CONSTRAINT moderation_events_actor_check CHECK ((actor ~ '^[A-Za-z0-9._:-]{1,120}$'::text)),
    CONSTRAINT moderation_events_reason_check CHECK ((reason ~ '^[a-z_]{1,40}$'::text)),
    CONSTRAINT moderation_events_type_check CHECK ((type = ANY (ARRAY['filed'::text, 'seen'::text, 'hidden'::text, 'restored'::text, 'blocked'::text, 'dismissed'::text, 'upheld'::text, 'reopened'::text, 'forgotten'::text, 'suspended'::text, 'lifted'::text, 'appealed'::text, 'appeal_granted'::text, 'appeal_denied'::text, 'hash_added'::text, 'hash_removed'::text])))
);

ALTER TABLE ourvidz.moderation_events OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.moderation_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.moderation_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.older_scene_words (
    word text NOT NULL,
    status text NOT NULL
);

ALTER TABLE ourvidz.older_scene_words OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.older_types (
    name text NOT NULL,
    asked text NOT NULL,
    format text NOT NULL,
    quality text NOT NULL,
    job_type text NOT NULL
);

ALTER TABLE ourvidz.older_types OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.plan_words (
    word text NOT NULL,
    plan text NOT NULL
);

ALTER TABLE ourvidz.plan_words OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.policy (
    only_row boolean DEFAULT true NOT NULL,
    max_attempts integer NOT NULL,
    backoff_base double precision NOT NULL,
    backoff_factor double precision NOT NULL,
    backoff_max double precision NOT NULL,
    backoff_jitter double precision NOT NULL,
    lease double precision NOT NULL,
    heartbeat double precision NOT NULL,
    control_poll double precision NOT NULL,
    step_stall double precision NOT NULL,
    load_stall double precision NOT NULL,
    crash_limit integer NOT NULL,
    lapse_limit integer NOT NULL,
    affinity_wait double precision NOT NULL,
    overdue_wait double precision NOT NULL,
    overdue_share double precision NOT NULL,
    enhance_limit double precision NOT NULL,
    spool_bytes bigint NOT NULL,
    executor_forgotten double precision NOT NULL,
    reroute_after double precision,
    help_url text,
    claims_per_minute integer DEFAULT 600 NOT NULL,
    executors_per_login integer DEFAULT 64 NOT NULL,
    registrations_per_hour integer DEFAULT 500 NOT NULL,
    reports_a_day integer DEFAULT 10 NOT NULL,
    report_hides_a_day integer DEFAULT 3 NOT NULL,
    report_kept double precision DEFAULT 31536000 NOT NULL,
    pdq_distance integer DEFAULT 31 NOT NULL,
    report_url text,
    CONSTRAINT policy_help_url_check CHECK (((help_url ~ '^https?://[^[:space:]]+$'::text) AND (length(help_url) <= 500))),
    CONSTRAINT policy_only_row_check CHECK (only_row),
    CONSTRAINT policy_report_url_check CHECK (((report_url ~ '^https?://[^[:space:]]+$'::text) AND (length(report_url) <= 500))),
    CONSTRAINT policy_reroute_after_check CHECK ((reroute_after >= (0)::double precision))
);

ALTER TABLE ourvidz.policy OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.policy.reroute_after IS 'Seconds after which the reaper reroutes jobs of a lane that no live executor serves; null: never. An operator''s to set: no upgrade resets it.';

COMMENT ON COLUMN ourvidz.policy.help_url IS 'The page for age and attestation, which refusals link to. Set by `ourvidz age page`, and by `migrate` where it is null and SUPABASE_URL is known.';

COMMENT ON COLUMN ourvidz.policy.report_hides_a_day IS 'How many outputs the valid requests of one source hide by themselves in a day; more wait for a person.';

COMMENT ON COLUMN ourvidz.policy.report_kept IS 'Seconds that texts and contacts of decided reports are kept.';

COMMENT ON COLUMN ourvidz.policy.report_url IS 'Where anyone reports an output; set by `migrate` where it is null and SUPABASE_URL is known.';

CREATE TABLE ourvidz.receivers (
    name text NOT NULL,
    url text NOT NULL,
    secret_env text NOT NULL,
    events text[] NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    exhausted integer DEFAULT 0 NOT NULL,
    disabled_at timestamp with time zone,
    disabled_reason text,
    created_at timestamp with time zone NOT NULL,
    fields text[] DEFAULT '{assets,thumbnails,bucket,job_type,user_id,project_id,video_id,image_id,seed,seeds,num_images,generation_time}'::text[] NOT NULL,
    CONSTRAINT receiver_events CHECK (((events <> '{}'::text[]) AND (events <@ '{processing,completed,failed,cancelled}'::text[]) AND (array_position(events, NULL::text) IS NULL))),
    CONSTRAINT receiver_fields CHECK (((fields <@ '{assets,thumbnails,bucket,job_type,user_id,project_id,video_id,image_id,seed,seeds,num_images,generation_time,error_message,enhancedPrompt}'::text[]) AND (array_position(fields, NULL::text) IS NULL))),
    CONSTRAINT receiver_name CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,39}$'::text)),
    CONSTRAINT receiver_secret CHECK ((secret_env ~ '^[A-Z][A-Z0-9_]{0,63}$'::text)),
    CONSTRAINT receiver_text CHECK (((NOT (fields && '{error_message,enhancedPrompt}'::text[])) OR ((name = 'job-callback'::text) AND (url ~ '/functions/v1/job-callback$'::text)))),
    CONSTRAINT receiver_url CHECK (((length(url) <= 2000) AND ((url ~ '^https://[^/?#@\\[:space:]]+([/?#][^[:space:]]*)?$'::text) OR (url ~ '^http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?([/?#][^[:space:]]*)?$'::text)))),
    CONSTRAINT receivers_check CHECK ((enabled = (disabled_at IS NULL)))
);

ALTER TABLE ourvidz.receivers OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.receivers.secret_env IS 'The environment variable that holds its secret, or several during a rotation.';

COMMENT ON COLUMN ourvidz.receivers.exhausted IS 'Messages in a row that ran out of tries.';

CREATE TABLE ourvidz.refusals (
    name text NOT NULL,
    code text NOT NULL,
    http integer NOT NULL
);

ALTER TABLE ourvidz.refusals OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.removals (
    bucket text NOT NULL,
    path text NOT NULL,
    user_id uuid NOT NULL,
    job_id uuid,
    asked_at timestamp with time zone NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone NOT NULL
);

ALTER TABLE ourvidz.removals OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.report_moves (
    verb text NOT NULL,
    source text NOT NULL,
    target text NOT NULL,
    output text,
    CONSTRAINT report_moves_output_check CHECK ((output = ANY (ARRAY['hidden'::text, 'restored'::text, 'blocked'::text])))
);

ALTER TABLE ourvidz.report_moves OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.report_payloads (
    id uuid NOT NULL,
    user_id uuid,
    contact text,
    signature text,
    said text,
    named text,
    CONSTRAINT report_payloads_contact_check CHECK ((length(contact) <= 254)),
    CONSTRAINT report_payloads_named_check CHECK ((length(named) <= 500)),
    CONSTRAINT report_payloads_said_check CHECK ((length(said) <= 4000)),
    CONSTRAINT report_payloads_signature_check CHECK ((length(signature) <= 200))
);

ALTER TABLE ourvidz.report_payloads OWNER TO ourvidz_owner;

COMMENT ON COLUMN ourvidz.report_payloads.named IS 'The link or id as it was given, where it names no output of ours.';

CREATE TABLE ourvidz.report_salts (
    day date NOT NULL,
    salt bytea NOT NULL
);

ALTER TABLE ourvidz.report_salts OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.report_sources (
    day date NOT NULL,
    source text NOT NULL,
    filed integer DEFAULT 0 NOT NULL,
    hides integer DEFAULT 0 NOT NULL,
    CONSTRAINT report_sources_source_check CHECK ((source ~ '^[0-9a-f]{64}$'::text))
);

ALTER TABLE ourvidz.report_sources OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.role_limits (
    name name NOT NULL,
    statement_s integer NOT NULL,
    lock_s integer NOT NULL,
    idle_s integer NOT NULL,
    transaction_s integer NOT NULL,
    work_mem_mb integer NOT NULL,
    connections integer
);

ALTER TABLE ourvidz.role_limits OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.row_bounds (
    name text NOT NULL,
    owner text NOT NULL,
    rows bigint,
    bytes bigint,
    over text NOT NULL,
    other text,
    CONSTRAINT row_bounds_check CHECK (((rows IS NULL) = (other IS NOT NULL))),
    CONSTRAINT row_bounds_over_check CHECK ((over = ANY (ARRAY['refuse'::text, 'oldest'::text])))
);

ALTER TABLE ourvidz.row_bounds OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.row_counts (
    name text NOT NULL,
    owner uuid NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    CONSTRAINT row_counts_bytes_check CHECK ((bytes >= 0)),
    CONSTRAINT row_counts_rows_check CHECK ((rows >= 0))
)
WITH (fillfactor='70');

ALTER TABLE ourvidz.row_counts OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.scene_steps (
    stage text NOT NULL,
    job_status text NOT NULL,
    status text NOT NULL,
    CONSTRAINT scene_steps_stage_check CHECK ((stage = ANY (ARRAY['preview'::text, 'final'::text])))
);

ALTER TABLE ourvidz.scene_steps OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.schema_objects (
    kind text NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    release integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schema_objects_kind_check CHECK ((kind = ANY (ARRAY['layer'::text, 'script'::text, 'function'::text, 'view'::text, 'trigger'::text, 'rows'::text, 'policies'::text, 'policy'::text])))
);

ALTER TABLE ourvidz.schema_objects OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.screenings (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    user_id uuid,
    job_id uuid,
    stage text NOT NULL,
    allowed boolean NOT NULL,
    policy_version text NOT NULL,
    category text,
    rule_id text,
    digest text,
    salt bytea,
    CONSTRAINT screenings_category CHECK ((category ~ '^[A-Za-z0-9_.:+/-]{1,80}$'::text)),
    CONSTRAINT screenings_check CHECK ((allowed OR (category IS NOT NULL))),
    CONSTRAINT screenings_digest CHECK ((digest ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT screenings_policy CHECK ((policy_version ~ '^[A-Za-z0-9_.:+/-]{1,80}$'::text)),
    CONSTRAINT screenings_rule CHECK ((rule_id ~ '^[A-Za-z0-9_.:+/-]{1,80}$'::text))
);

ALTER TABLE ourvidz.screenings OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.screenings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.screenings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.set_aside_rules (
    name text NOT NULL,
    job_type text NOT NULL,
    setting text NOT NULL,
    names text[] NOT NULL,
    only_values jsonb,
    beside text[] NOT NULL,
    without text[] NOT NULL,
    reason text NOT NULL
);

ALTER TABLE ourvidz.set_aside_rules OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.shares (
    user_id uuid NOT NULL,
    lane text NOT NULL,
    finish double precision NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE ourvidz.shares OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.sharing (
    only_row boolean DEFAULT true NOT NULL,
    users uuid[] NOT NULL,
    since timestamp with time zone NOT NULL,
    CONSTRAINT sharing_only_row_check CHECK (only_row)
);

ALTER TABLE ourvidz.sharing OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.stops (
    user_id uuid NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    CONSTRAINT stops_actor_check CHECK ((actor ~ '^[a-z]+(:[A-Za-z0-9._-]{1,80})?$'::text)),
    CONSTRAINT stops_reason_check CHECK ((reason ~ '^[a-z0-9_]{1,40}$'::text))
);

ALTER TABLE ourvidz.stops OWNER TO ourvidz_owner;

COMMENT ON TABLE ourvidz.stops IS 'Users whose unfinished jobs are to be stopped (ourvidz.stop_jobs); the reaper removes a row once none is left that could go on.';

CREATE TABLE ourvidz.taken_objects (
    bucket text NOT NULL,
    path text NOT NULL,
    user_id uuid NOT NULL,
    subject text,
    down boolean DEFAULT false NOT NULL,
    suspended boolean DEFAULT false NOT NULL,
    moved boolean DEFAULT false NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone NOT NULL
);

ALTER TABLE ourvidz.taken_objects OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.text_reads (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    job_id uuid NOT NULL,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    CONSTRAINT text_reads_actor_check CHECK (((length(actor) >= 1) AND (length(actor) <= 120))),
    CONSTRAINT text_reads_reason_check CHECK (((length(TRIM(BOTH FROM reason)) >= 1) AND (length(TRIM(BOTH FROM reason)) <= 200)))
);

ALTER TABLE ourvidz.text_reads OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.text_reads ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.text_reads_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.token_entries (
    seq bigint NOT NULL,
    user_id uuid NOT NULL,
    account text NOT NULL,
    amount bigint NOT NULL,
    kind text NOT NULL,
    job_id uuid,
    job_version integer,
    key text,
    reason text,
    actor text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT token_entries_check CHECK ((((((((((((((((((((kind = 'opening'::text) AND (account = 'issued'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision)) OR ((kind = 'opening'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'grant'::text) AND (account = 'issued'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'grant'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'revoke'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'revoke'::text) AND (account = 'issued'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'closing'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'closing'::text) AND (account = 'issued'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'hold'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'hold'::text) AND (account = 'held'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'capture'::text) AND (account = 'held'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'capture'::text) AND (account = 'revenue'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'release'::text) AND (account = 'held'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'release'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'adjust'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'adjust'::text) AND (account = 'held'::text) AND (sign((amount)::double precision) = (1)::double precision))) OR ((kind = 'adjust'::text) AND (account = 'held'::text) AND (sign((amount)::double precision) = ('-1'::integer)::double precision))) OR ((kind = 'adjust'::text) AND (account = 'available'::text) AND (sign((amount)::double precision) = (1)::double precision)))),
    CONSTRAINT token_entries_check1 CHECK (
CASE
    WHEN (kind = ANY (ARRAY['hold'::text, 'capture'::text, 'release'::text, 'adjust'::text])) THEN ((num_nulls(job_id, job_version) = 0) AND (key IS NULL))
    ELSE ((num_nulls(job_id, job_version) = 2) AND (num_nulls(key, reason) = 0))
END),
    CONSTRAINT token_entries_key_check CHECK (((length(key) >= 1) AND (length(key) <= 200))),
    CONSTRAINT token_entries_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

ALTER TABLE ONLY ourvidz.token_entries REPLICA IDENTITY FULL;

ALTER TABLE ourvidz.token_entries OWNER TO ourvidz_owner;

ALTER TABLE ourvidz.token_entries ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ourvidz.token_entries_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ourvidz.transitions (
    event text NOT NULL,
    source text,
    target text NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    keys text[] NOT NULL,
    CONSTRAINT transitions_after_check CHECK ((after = ANY (ARRAY['takes'::text, 'keeps'::text, 'ends'::text]))),
    CONSTRAINT transitions_before_check CHECK ((before = ANY (ARRAY['held'::text, 'free'::text, 'any'::text])))
);

ALTER TABLE ONLY ourvidz.transitions REPLICA IDENTITY FULL;

ALTER TABLE ourvidz.transitions OWNER TO ourvidz_owner;

CREATE TABLE ourvidz.wire_names (
    n integer NOT NULL,
    family text NOT NULL,
    name text NOT NULL,
    setting text NOT NULL
);

ALTER TABLE ourvidz.wire_names OWNER TO ourvidz_owner;

CREATE TABLE public.characters (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text,
    traits text,
    appearance_tags text[],
    image_url text,
    reference_image_url text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.characters OWNER TO ourvidz_owner;

CREATE TABLE public.images (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    project_id uuid,
    job_id uuid,
    image_index integer,
    title text,
    prompt text DEFAULT ''::text NOT NULL,
    enhanced_prompt text,
    image_url text,
    image_urls jsonb,
    thumbnail_url text,
    generation_mode text DEFAULT 'standalone'::text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    metadata jsonb,
    format text DEFAULT 'png'::text,
    quality text DEFAULT 'fast'::text,
    signed_url text,
    signed_url_expires_at timestamp with time zone,
    prompt_test_id uuid,
    test_metadata jsonb,
    file_size bigint,
    nsfw_score numeric(3,2),
    moderation_status text DEFAULT 'pending'::text,
    reviewed_at timestamp with time zone,
    reviewed_by uuid,
    review_notes text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    taken_down boolean DEFAULT false NOT NULL
);

ALTER TABLE ONLY public.images REPLICA IDENTITY FULL;

ALTER TABLE public.images OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.images.taken_down IS 'Hidden by a takedown (ourvidz.takedowns): its owner does not see it.';

CREATE VIEW public.job_durations AS
SELECT
    NULL::uuid AS job_id,
    NULL::text AS job_type,
    NULL::text AS status,
    NULL::integer AS attempts,
    NULL::double precision AS total_s,
    NULL::double precision AS queued_s,
    NULL::double precision AS enhancing_s,
    NULL::double precision AS generating_s,
    NULL::double precision AS uploading_s,
    NULL::double precision AS scheduled_s,
    NULL::double precision AS preparing_s;

ALTER VIEW public.job_durations OWNER TO ourvidz_owner;

ALTER TABLE public.job_events ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.job_events_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW public.job_timeline WITH (security_invoker='true') AS
 SELECT job_id,
    version,
    type,
    from_status,
    to_status,
    claim_no,
    actor,
    occurred_at,
    (lead(occurred_at) OVER (PARTITION BY job_id ORDER BY version) - occurred_at) AS lasted,
    (occurred_at - first_value(occurred_at) OVER (PARTITION BY job_id ORDER BY version)) AS since_submit,
    data
   FROM public.job_events e;

ALTER VIEW public.job_timeline OWNER TO ourvidz_owner;

CREATE TABLE public.model_test_results (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid,
    model_type character varying(20) NOT NULL,
    model_version character varying(50),
    prompt_text text NOT NULL,
    success boolean DEFAULT true NOT NULL,
    overall_quality integer,
    technical_quality integer,
    content_quality integer,
    consistency integer,
    test_series character varying(100) NOT NULL,
    test_tier character varying(50) NOT NULL,
    test_category character varying(50),
    test_metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    job_id uuid,
    image_id uuid,
    video_id uuid,
    generation_time_ms integer,
    file_size_bytes bigint,
    notes text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.model_test_results OWNER TO ourvidz_owner;

CREATE TABLE public.profiles (
    id uuid NOT NULL,
    username text,
    email text,
    subscription_status text DEFAULT 'inactive'::text NOT NULL,
    token_balance bigint DEFAULT 0 NOT NULL,
    age_verified boolean DEFAULT false NOT NULL,
    last_login timestamp with time zone,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    erased_at timestamp with time zone,
    age_verified_until timestamp with time zone,
    CONSTRAINT profiles_erased CHECK (((erased_at IS NULL) OR (NOT age_verified))),
    CONSTRAINT profiles_token_balance_check CHECK ((token_balance >= 0))
)
WITH (fillfactor='70');

ALTER TABLE public.profiles OWNER TO ourvidz_owner;

COMMENT ON COLUMN public.profiles.age_verified_until IS 'A verification of the age holds until then; null: until it is withdrawn.';

CREATE TABLE public.projects (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    title text,
    original_prompt text,
    enhanced_prompt text,
    media_type text DEFAULT 'image'::text,
    duration integer DEFAULT 0,
    target_duration integer,
    scene_count integer DEFAULT 1,
    workflow_step text DEFAULT 'configuration'::text,
    character_id uuid,
    preview_url text,
    reference_image_url text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.projects OWNER TO ourvidz_owner;

CREATE VIEW public.queue_depth WITH (security_invoker='true') AS
 SELECT lane,
    priority,
    count(*) FILTER (WHERE ready) AS ready,
    count(*) FILTER (WHERE (NOT ready)) AS scheduled,
    count(*) FILTER (WHERE (executor_id IS NOT NULL)) AS held,
    (ourvidz.now() - min(run_at) FILTER (WHERE ready)) AS waiting_longest
   FROM public.jobs
  WHERE (ready OR (NOT ready) OR (executor_id IS NOT NULL))
  GROUP BY lane, priority;

ALTER VIEW public.queue_depth OWNER TO ourvidz_owner;

CREATE TABLE public.scenes (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    scene_number integer NOT NULL,
    description text NOT NULL,
    enhanced_prompt text,
    image_url text,
    approved boolean DEFAULT false,
    final_stitched_url text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.scenes OWNER TO ourvidz_owner;

CREATE TABLE public.system_config (
    id bigint DEFAULT 1 NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.system_config OWNER TO ourvidz_owner;

CREATE TABLE public.usage_logs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    action text NOT NULL,
    tokens_consumed bigint,
    credits_consumed numeric,
    metadata jsonb DEFAULT '{}'::jsonb,
    format text,
    quality text,
    job_id uuid,
    job_version integer,
    created_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.usage_logs OWNER TO ourvidz_owner;

CREATE TABLE public.user_activity_log (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid,
    action text NOT NULL,
    resource_type text,
    resource_id text,
    metadata jsonb DEFAULT '{}'::jsonb,
    ip_address inet,
    user_agent text,
    created_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.user_activity_log OWNER TO ourvidz_owner;

CREATE TABLE public.user_roles (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    role public.app_role NOT NULL,
    created_at timestamp with time zone DEFAULT now()
);

ALTER TABLE public.user_roles OWNER TO ourvidz_owner;

CREATE TABLE storage.buckets (
    id text NOT NULL,
    name text NOT NULL,
    owner uuid,
    public boolean DEFAULT false,
    file_size_limit bigint,
    allowed_mime_types text[],
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

ALTER TABLE storage.buckets OWNER TO ourvidz;

CREATE TABLE storage.objects (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    bucket_id text,
    name text,
    owner uuid,
    metadata jsonb,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    last_accessed_at timestamp with time zone DEFAULT now()
);

ALTER TABLE storage.objects OWNER TO ourvidz;

ALTER TABLE ONLY auth.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.age_ends
    ADD CONSTRAINT age_ends_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY ourvidz.age_messages
    ADD CONSTRAINT age_messages_pkey PRIMARY KEY (provider, message_id);

ALTER TABLE ONLY ourvidz.age_reviews
    ADD CONSTRAINT age_reviews_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY ourvidz.appeals
    ADD CONSTRAINT appeals_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.blocked_hashes
    ADD CONSTRAINT blocked_hashes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.buckets
    ADD CONSTRAINT buckets_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.catalog_states
    ADD CONSTRAINT catalog_states_pkey PRIMARY KEY (kind, name);

ALTER TABLE ONLY ourvidz.column_kinds
    ADD CONSTRAINT column_kinds_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.enhancement_requests
    ADD CONSTRAINT enhancement_requests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.enhancers
    ADD CONSTRAINT enhancers_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.erasure_rules
    ADD CONSTRAINT erasure_rules_pkey PRIMARY KEY (n);

ALTER TABLE ONLY ourvidz.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.event_types
    ADD CONSTRAINT event_types_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.executors
    ADD CONSTRAINT executors_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (n);

ALTER TABLE ONLY ourvidz.import_decisions
    ADD CONSTRAINT import_decisions_pkey PRIMARY KEY (user_id, what, older_value);

ALTER TABLE ONLY ourvidz.intake_counts
    ADD CONSTRAINT intake_counts_pkey PRIMARY KEY (day, queue, outcome, reason);

ALTER TABLE ONLY ourvidz.intake_messages
    ADD CONSTRAINT intake_messages_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY ourvidz.job_references
    ADD CONSTRAINT job_references_pkey PRIMARY KEY (job_id, sha256);

ALTER TABLE ONLY ourvidz.job_types
    ADD CONSTRAINT job_types_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.legal_holds
    ADD CONSTRAINT legal_holds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY ourvidz.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (kind, slot);

ALTER TABLE ONLY ourvidz.logins
    ADD CONSTRAINT logins_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.moderation_events
    ADD CONSTRAINT moderation_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.older_scene_words
    ADD CONSTRAINT older_scene_words_pkey PRIMARY KEY (word);

ALTER TABLE ONLY ourvidz.older_types
    ADD CONSTRAINT older_types_asked_format_quality_key UNIQUE (asked, format, quality);

ALTER TABLE ONLY ourvidz.older_types
    ADD CONSTRAINT older_types_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.outbox
    ADD CONSTRAINT outbox_job_id_job_version_receiver_key UNIQUE (job_id, job_version, receiver);

ALTER TABLE ONLY ourvidz.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.plan_words
    ADD CONSTRAINT plan_words_pkey PRIMARY KEY (word);

ALTER TABLE ONLY ourvidz.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.policy
    ADD CONSTRAINT policy_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY ourvidz.receivers
    ADD CONSTRAINT receivers_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.refusals
    ADD CONSTRAINT refusals_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.removals
    ADD CONSTRAINT removals_pkey PRIMARY KEY (bucket, path);

ALTER TABLE ONLY ourvidz.report_moves
    ADD CONSTRAINT report_moves_pkey PRIMARY KEY (verb, source);

ALTER TABLE ONLY ourvidz.report_payloads
    ADD CONSTRAINT report_payloads_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.report_rules
    ADD CONSTRAINT report_rules_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.report_salts
    ADD CONSTRAINT report_salts_pkey PRIMARY KEY (day);

ALTER TABLE ONLY ourvidz.report_sources
    ADD CONSTRAINT report_sources_pkey PRIMARY KEY (day, source);

ALTER TABLE ONLY ourvidz.reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.role_limits
    ADD CONSTRAINT role_limits_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.row_bounds
    ADD CONSTRAINT row_bounds_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.row_counts
    ADD CONSTRAINT row_counts_pkey PRIMARY KEY (name, owner);

ALTER TABLE ONLY ourvidz.scene_steps
    ADD CONSTRAINT scene_steps_pkey PRIMARY KEY (stage, job_status);

ALTER TABLE ONLY ourvidz.schema_objects
    ADD CONSTRAINT schema_objects_pkey PRIMARY KEY (kind, name);

ALTER TABLE ONLY ourvidz.screenings
    ADD CONSTRAINT screenings_pkey PRIMARY KEY (id);

ALTER TABLE ourvidz.screenings
    ADD CONSTRAINT screenings_stage_check CHECK ((stage = ANY (ARRAY['door'::text, 'prompt'::text, 'enhanced'::text, 'negative'::text, 'title'::text, 'character'::text, 'metadata'::text, 'reference'::text, 'output'::text]))) NOT VALID;

ALTER TABLE ONLY ourvidz.set_aside_rules
    ADD CONSTRAINT set_aside_rules_job_type_setting_key UNIQUE (job_type, setting);

ALTER TABLE ONLY ourvidz.set_aside_rules
    ADD CONSTRAINT set_aside_rules_pkey PRIMARY KEY (name);

ALTER TABLE ONLY ourvidz.shares
    ADD CONSTRAINT shares_pkey PRIMARY KEY (user_id, lane);

ALTER TABLE ONLY ourvidz.sharing
    ADD CONSTRAINT sharing_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY ourvidz.stops
    ADD CONSTRAINT stops_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY ourvidz.suspensions
    ADD CONSTRAINT suspensions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.takedowns
    ADD CONSTRAINT takedowns_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY ourvidz.taken_objects
    ADD CONSTRAINT taken_objects_pkey PRIMARY KEY (bucket, path);

ALTER TABLE ONLY ourvidz.text_reads
    ADD CONSTRAINT text_reads_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ourvidz.transitions
    ADD CONSTRAINT transitions_event_source_target_key UNIQUE NULLS NOT DISTINCT (event, source, target);

ALTER TABLE ONLY ourvidz.wire_names
    ADD CONSTRAINT wire_names_family_name_key UNIQUE (family, name);

ALTER TABLE ONLY ourvidz.wire_names
    ADD CONSTRAINT wire_names_pkey PRIMARY KEY (n);

ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT artifacts_bucket_path_key UNIQUE (bucket, path);

ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT artifacts_pkey PRIMARY KEY (job_id, kind, index);

ALTER TABLE public.characters
    ADD CONSTRAINT characters_bounds CHECK ((((length(name) >= 1) AND (length(name) <= 200)) AND (length(description) <= 4000) AND (length(traits) <= 4000) AND (cardinality(appearance_tags) <= 100) AND (length(array_to_string(appearance_tags, ','::text)) <= 2000) AND (length(image_url) <= 2000) AND (length(reference_image_url) <= 2000))) NOT VALID;

ALTER TABLE ONLY public.characters
    ADD CONSTRAINT characters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.consents
    ADD CONSTRAINT consents_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.job_events
    ADD CONSTRAINT job_events_pkey PRIMARY KEY (job_id, version, submitted_on);

ALTER TABLE ONLY public.job_payloads
    ADD CONSTRAINT job_payloads_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE public.model_test_results
    ADD CONSTRAINT model_test_results_bounds CHECK (((length(prompt_text) <= 4000) AND (length(notes) <= 4000) AND (length((test_metadata)::text) <= 100000))) NOT VALID;

ALTER TABLE public.model_test_results
    ADD CONSTRAINT model_test_results_model_type_check CHECK (((model_type)::text = ANY ((ARRAY['SDXL'::character varying, 'WAN'::character varying, 'LORA'::character varying])::text[]))) NOT VALID;

ALTER TABLE ONLY public.model_test_results
    ADD CONSTRAINT model_test_results_pkey PRIMARY KEY (id);

ALTER TABLE public.model_test_results
    ADD CONSTRAINT model_test_results_scores CHECK ((((overall_quality >= 0) AND (overall_quality <= 10)) AND ((technical_quality >= 0) AND (technical_quality <= 10)) AND ((content_quality >= 0) AND (content_quality <= 10)) AND ((consistency >= 0) AND (consistency <= 10)))) NOT VALID;

ALTER TABLE public.model_test_results
    ADD CONSTRAINT model_test_results_test_tier_check CHECK (((test_tier)::text = ANY ((ARRAY['artistic'::character varying, 'explicit'::character varying, 'unrestricted'::character varying])::text[]))) NOT VALID;

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_username_key UNIQUE (username);

ALTER TABLE public.projects
    ADD CONSTRAINT projects_bounds CHECK (((length(title) <= 200) AND (length(original_prompt) <= 4000) AND (length(enhanced_prompt) <= 4000) AND (target_duration > 0) AND (duration >= 0) AND ((scene_count >= 0) AND (scene_count <= 1000)) AND (length(preview_url) <= 2000) AND (length(reference_image_url) <= 2000))) NOT VALID;

ALTER TABLE public.projects
    ADD CONSTRAINT projects_media_type_check CHECK ((media_type = ANY (ARRAY['image'::text, 'video'::text]))) NOT VALID;

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);

ALTER TABLE public.projects
    ADD CONSTRAINT projects_workflow_step_check CHECK ((workflow_step = ANY (ARRAY['configuration'::text, 'character_selection'::text, 'story_breakdown'::text, 'storyboard_generation'::text, 'video_generation'::text, 'completed'::text]))) NOT VALID;

ALTER TABLE public.scenes
    ADD CONSTRAINT scenes_bounds CHECK ((((scene_number >= 0) AND (scene_number <= 10000)) AND (length(description) <= 4000) AND (length(enhanced_prompt) <= 4000) AND (length(image_url) <= 2000) AND (length(final_stitched_url) <= 2000))) NOT VALID;

ALTER TABLE ONLY public.scenes
    ADD CONSTRAINT scenes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.scenes
    ADD CONSTRAINT scenes_project_id_scene_number_key UNIQUE (project_id, scene_number);

ALTER TABLE public.system_config
    ADD CONSTRAINT system_config_bounds CHECK (((id = 1) AND (length((config)::text) <= 100000))) NOT VALID;

ALTER TABLE ONLY public.system_config
    ADD CONSTRAINT system_config_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.usage_logs
    ADD CONSTRAINT usage_logs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.user_activity_log
    ADD CONSTRAINT user_activity_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.user_roles
    ADD CONSTRAINT user_roles_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.user_roles
    ADD CONSTRAINT user_roles_user_id_role_key UNIQUE (user_id, role);

ALTER TABLE public.videos
    ADD CONSTRAINT videos_bounds CHECK ((scene_number > 0)) NOT VALID;

ALTER TABLE ONLY public.videos
    ADD CONSTRAINT videos_pkey PRIMARY KEY (id);

ALTER TABLE ONLY storage.buckets
    ADD CONSTRAINT buckets_name_key UNIQUE (name);

ALTER TABLE ONLY storage.buckets
    ADD CONSTRAINT buckets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY storage.objects
    ADD CONSTRAINT objects_bucket_id_name_key UNIQUE (bucket_id, name);

ALTER TABLE ONLY storage.objects
    ADD CONSTRAINT objects_pkey PRIMARY KEY (id);

CREATE INDEX age_ends_until ON ourvidz.age_ends USING btree (until);

CREATE INDEX age_messages_of_user ON ourvidz.age_messages USING btree (user_id);

CREATE INDEX age_messages_received ON ourvidz.age_messages USING btree (received_at);

CREATE INDEX age_reviews_of_user ON ourvidz.age_reviews USING btree (user_id, id DESC);

CREATE UNIQUE INDEX age_reviews_open ON ourvidz.age_reviews USING btree (user_id) WHERE (decision IS NULL);

CREATE UNIQUE INDEX appeals_of_subject ON ourvidz.appeals USING btree (subject) WHERE (subject IS NOT NULL);

CREATE UNIQUE INDEX appeals_of_suspension ON ourvidz.appeals USING btree (suspension) WHERE (suspension IS NOT NULL);

CREATE INDEX appeals_of_user ON ourvidz.appeals USING btree (user_id);

CREATE INDEX blocked_hashes_of_subject ON ourvidz.blocked_hashes USING btree (subject) WHERE (subject IS NOT NULL);

CREATE UNIQUE INDEX blocked_hashes_pdq ON ourvidz.blocked_hashes USING btree (pdq) WHERE (pdq IS NOT NULL);

CREATE UNIQUE INDEX blocked_hashes_sha256 ON ourvidz.blocked_hashes USING btree (sha256) WHERE (sha256 IS NOT NULL);

CREATE INDEX enhancement_requests_of_user ON ourvidz.enhancement_requests USING btree (user_id, asked_at DESC);

CREATE INDEX enhancement_requests_open ON ourvidz.enhancement_requests USING btree (asked_at) WHERE ((enhanced IS NULL) AND (failed IS NULL));

CREATE UNIQUE INDEX erasures_open ON ourvidz.erasures USING btree (user_id) WHERE (finished_at IS NULL);

CREATE INDEX intake_messages_of_job ON ourvidz.intake_messages USING btree (message_id);

CREATE INDEX intake_messages_recent ON ourvidz.intake_messages USING btree (at DESC);

CREATE INDEX job_references_of_picture ON ourvidz.job_references USING btree (sha256);

CREATE UNIQUE INDEX legal_holds_standing ON ourvidz.legal_holds USING btree (user_id) WHERE (lifted_at IS NULL);

CREATE INDEX moderation_events_of_report ON ourvidz.moderation_events USING btree (report_id, id) WHERE (report_id IS NOT NULL);

CREATE INDEX moderation_events_of_subject ON ourvidz.moderation_events USING btree (subject, id) WHERE (subject IS NOT NULL);

CREATE INDEX moderation_events_of_user ON ourvidz.moderation_events USING btree (user_id, id) WHERE (user_id IS NOT NULL);

CREATE INDEX outbox_due ON ourvidz.outbox USING btree (receiver, next_at) WHERE ((delivered_at IS NULL) AND (dead_at IS NULL));

CREATE INDEX outbox_ended ON ourvidz.outbox USING btree (COALESCE(delivered_at, dead_at)) WHERE (COALESCE(delivered_at, dead_at) IS NOT NULL);

CREATE INDEX receivers_of_starts ON ourvidz.receivers USING btree (name) WHERE (enabled AND ('processing'::text = ANY (events)));

CREATE INDEX removals_due ON ourvidz.removals USING btree (next_at);

CREATE INDEX removals_of_user ON ourvidz.removals USING btree (user_id);

CREATE INDEX report_payloads_of_user ON ourvidz.report_payloads USING btree (user_id) WHERE (user_id IS NOT NULL);

CREATE INDEX reports_closed ON ourvidz.reports USING btree (closed_at) WHERE ((closed_at IS NOT NULL) AND (NOT forgotten));

CREATE INDEX reports_filed ON ourvidz.reports USING btree (category, filed_at);

CREATE INDEX reports_of_subject ON ourvidz.reports USING btree (subject) WHERE (subject IS NOT NULL);

CREATE INDEX reports_of_user ON ourvidz.reports USING btree (user_id) WHERE (user_id IS NOT NULL);

CREATE INDEX reports_open ON ourvidz.reports USING btree (due_at) WHERE (closed_at IS NULL);

CREATE INDEX screenings_of_user ON ourvidz.screenings USING btree (user_id, at DESC);

CREATE INDEX screenings_recent ON ourvidz.screenings USING btree (at DESC);

CREATE INDEX shares_latest ON ourvidz.shares USING btree (lane, finish DESC);

CREATE UNIQUE INDEX suspensions_open ON ourvidz.suspensions USING btree (user_id) WHERE (lifted_at IS NULL);

CREATE INDEX suspensions_sweep ON ourvidz.suspensions USING btree (sweep_at) WHERE ((lifted_at IS NULL) AND (sweep_at IS NOT NULL));

CREATE INDEX takedowns_of_job ON ourvidz.takedowns USING btree (job_id) WHERE (job_id IS NOT NULL);

CREATE INDEX takedowns_of_row ON ourvidz.takedowns USING btree (row_id) WHERE (row_id IS NOT NULL);

CREATE INDEX takedowns_of_user ON ourvidz.takedowns USING btree (user_id);

CREATE INDEX taken_objects_due ON ourvidz.taken_objects USING btree (next_at) WHERE ((down OR suspended) <> moved);

CREATE INDEX taken_objects_of_subject ON ourvidz.taken_objects USING btree (subject) WHERE (subject IS NOT NULL);

CREATE INDEX taken_objects_of_user ON ourvidz.taken_objects USING btree (user_id);

CREATE INDEX text_reads_of_user ON ourvidz.text_reads USING btree (user_id, at);

CREATE UNIQUE INDEX token_entries_of_event ON ourvidz.token_entries USING btree (job_id, job_version, kind, account) WHERE (job_id IS NOT NULL);

CREATE UNIQUE INDEX token_entries_of_key ON ourvidz.token_entries USING btree (user_id, key, account) WHERE (job_id IS NULL);

CREATE INDEX token_entries_of_user ON ourvidz.token_entries USING btree (user_id, seq) WHERE (account = ANY (ARRAY['held'::text, 'issued'::text]));

CREATE INDEX artifacts_of_sha256 ON public.artifacts USING btree (sha256);

CREATE INDEX artifacts_of_user ON public.artifacts USING btree (split_part(path, '/'::text, 1), created_at DESC) WHERE (deleted_at IS NULL);

CREATE INDEX characters_of_user ON public.characters USING btree (user_id);

CREATE INDEX characters_of_user_recent ON public.characters USING btree (user_id, created_at DESC);

CREATE UNIQUE INDEX consents_in_force ON public.consents USING btree (user_id, sha256) WHERE (withdrawn_at IS NULL);

CREATE INDEX consents_of_user ON public.consents USING btree (user_id);

CREATE INDEX consents_of_user_recent ON public.consents USING btree (user_id, attested_at DESC);

CREATE INDEX images_of_job ON public.images USING btree (job_id, image_index) WHERE (job_id IS NOT NULL);

CREATE INDEX images_of_path ON public.images USING hash (image_url) WHERE (image_url IS NOT NULL);

CREATE INDEX images_of_project ON public.images USING btree (project_id) WHERE (project_id IS NOT NULL);

CREATE INDEX images_of_reviewer ON public.images USING btree (reviewed_by) WHERE (reviewed_by IS NOT NULL);

CREATE INDEX images_of_thumbnail ON public.images USING hash (thumbnail_url) WHERE (thumbnail_url IS NOT NULL);

CREATE INDEX images_of_user ON public.images USING btree (user_id, created_at DESC);

CREATE INDEX job_events_cursor ON public.job_events USING btree (xid, seq);

CREATE UNIQUE INDEX job_payloads_of_user_key ON public.job_payloads USING btree (user_id, idempotency_key);

CREATE INDEX jobs_claim ON public.jobs USING btree (lane, rank, run_at) WHERE ready;

CREATE INDEX jobs_deadline ON public.jobs USING btree (deadline) WHERE (executor_id IS NOT NULL);

CREATE INDEX jobs_due ON public.jobs USING btree (run_at) WHERE (NOT ready);

CREATE INDEX jobs_error ON public.jobs USING btree (error_class, completed_at) WHERE ((error_class IS NOT NULL) AND (completed_at IS NOT NULL));

CREATE INDEX jobs_held ON public.jobs USING btree (executor_id, deadline) WHERE (executor_id IS NOT NULL);

CREATE INDEX jobs_of_image ON public.jobs USING btree (image_id) WHERE (image_id IS NOT NULL);

CREATE INDEX jobs_of_user ON public.jobs USING btree (user_id, created_at DESC);

CREATE INDEX jobs_of_video ON public.jobs USING btree (video_id) WHERE (video_id IS NOT NULL);

CREATE INDEX jobs_recent ON public.jobs USING btree (created_at DESC);

CREATE INDEX jobs_waiting_longest ON public.jobs USING btree (lane, run_at) WHERE ready;

CREATE INDEX model_test_results_of_image ON public.model_test_results USING btree (image_id) WHERE (image_id IS NOT NULL);

CREATE INDEX model_test_results_of_job ON public.model_test_results USING btree (job_id) WHERE (job_id IS NOT NULL);

CREATE INDEX model_test_results_of_user ON public.model_test_results USING btree (user_id);

CREATE INDEX model_test_results_of_video ON public.model_test_results USING btree (video_id) WHERE (video_id IS NOT NULL);

CREATE INDEX projects_of_character ON public.projects USING btree (character_id) WHERE (character_id IS NOT NULL);

CREATE INDEX projects_of_user ON public.projects USING btree (user_id);

CREATE INDEX projects_of_user_recent ON public.projects USING btree (user_id, created_at DESC);

CREATE INDEX scenes_of_project ON public.scenes USING btree (project_id);

CREATE INDEX usage_logs_of_clients ON public.usage_logs USING btree (user_id, created_at) WHERE (job_id IS NULL);

CREATE UNIQUE INDEX usage_logs_of_event ON public.usage_logs USING btree (job_id, job_version) WHERE (job_id IS NOT NULL);

CREATE INDEX usage_logs_of_user ON public.usage_logs USING btree (user_id, created_at DESC);

CREATE INDEX user_activity_log_of_user ON public.user_activity_log USING btree (user_id, created_at DESC);

CREATE INDEX user_roles_of_user ON public.user_roles USING btree (user_id);

CREATE INDEX videos_of_path ON public.videos USING hash (video_url) WHERE (video_url IS NOT NULL);

CREATE INDEX videos_of_preview ON public.videos USING hash (preview_url) WHERE (preview_url IS NOT NULL);

CREATE INDEX videos_of_project ON public.videos USING btree (project_id);

CREATE INDEX videos_of_thumbnail ON public.videos USING hash (thumbnail_url) WHERE (thumbnail_url IS NOT NULL);

CREATE INDEX videos_of_user ON public.videos USING btree (user_id);

CREATE INDEX videos_of_user_recent ON public.videos USING btree (user_id, created_at DESC);

CREATE OR REPLACE VIEW public.job_durations WITH (security_invoker='true') AS
 SELECT t.job_id,
    j.job_type,
    j.status,
    j.attempts,
    (EXTRACT(epoch FROM (j.completed_at - j.created_at)))::double precision AS total_s,
    (COALESCE(sum(t.claimable), (0)::numeric))::double precision AS queued_s,
    (COALESCE(sum(t.seconds) FILTER (WHERE (t.to_status = 'enhancing'::text)), (0)::numeric))::double precision AS enhancing_s,
    (COALESCE(sum(t.seconds) FILTER (WHERE (t.to_status = 'generating'::text)), (0)::numeric))::double precision AS generating_s,
    (COALESCE(sum(t.seconds) FILTER (WHERE (t.to_status = 'uploading'::text)), (0)::numeric))::double precision AS uploading_s,
    (COALESCE(sum((t.seconds - t.claimable)) FILTER (WHERE (NOT t.held)), (0)::numeric))::double precision AS scheduled_s,
    (COALESCE(sum(t.seconds) FILTER (WHERE t.held), (0)::numeric))::double precision AS preparing_s
   FROM (public.jobs j
     JOIN ( SELECT e.job_id,
            e.to_status,
            EXTRACT(epoch FROM (e.ends - e.occurred_at)) AS seconds,
            e.held,
                CASE
                    WHEN (NOT e.held) THEN GREATEST(EXTRACT(epoch FROM (e.ends - GREATEST(e.occurred_at, COALESCE(max(e.run_at) OVER (PARTITION BY e.job_id, e.runs), e.ends)))), (0)::numeric)
                    ELSE NULL::numeric
                END AS claimable
           FROM ( SELECT job_timeline.job_id,
                    job_timeline.version,
                    job_timeline.type,
                    job_timeline.from_status,
                    job_timeline.to_status,
                    job_timeline.claim_no,
                    job_timeline.actor,
                    job_timeline.occurred_at,
                    job_timeline.lasted,
                    job_timeline.since_submit,
                    job_timeline.data,
                    ((job_timeline.data ->> 'run_at'::text))::timestamp with time zone AS run_at,
                    (job_timeline.occurred_at + job_timeline.lasted) AS ends,
                    count((job_timeline.data ->> 'run_at'::text)) OVER so_far AS runs,
                        CASE
                            WHEN (job_timeline.to_status = 'queued'::text) THEN (COALESCE(max(job_timeline.version) FILTER (WHERE (job_timeline.type = 'claimed'::text)) OVER so_far, 0) > max(job_timeline.version) FILTER (WHERE ((job_timeline.from_status IS NULL) OR (job_timeline.type = ANY ('{retry_scheduled,lease_expired,snoozed,retried}'::text[])))) OVER so_far)
                            ELSE NULL::boolean
                        END AS held
                   FROM public.job_timeline
                  WINDOW so_far AS (PARTITION BY job_timeline.job_id ORDER BY job_timeline.version)) e) t ON ((t.job_id = j.id)))
  WHERE (j.completed_at IS NOT NULL)
  GROUP BY t.job_id, j.id;

CREATE TRIGGER ourvidz_profile AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION ourvidz.new_profile();

CREATE TRIGGER ourvidz_roles AFTER INSERT OR UPDATE OF raw_app_meta_data ON auth.users FOR EACH ROW EXECUTE FUNCTION ourvidz.roles_follow();

CREATE TRIGGER age_reviews_guard BEFORE DELETE OR UPDATE ON ourvidz.age_reviews FOR EACH ROW EXECUTE FUNCTION ourvidz.age_reviews_guard();

CREATE TRIGGER age_reviews_never_emptied BEFORE TRUNCATE ON ourvidz.age_reviews FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.refuse_change();

CREATE TRIGGER executors_kinds BEFORE INSERT OR UPDATE OF called, lanes, resident, lane, state ON ourvidz.executors FOR EACH ROW EXECUTE FUNCTION ourvidz.check_column_kinds();

CREATE TRIGGER intake_counts_kinds BEFORE INSERT OR UPDATE OF queue, outcome, reason ON ourvidz.intake_counts FOR EACH ROW EXECUTE FUNCTION ourvidz.check_column_kinds();

CREATE TRIGGER intake_messages_kinds BEFORE INSERT OR UPDATE OF queue, outcome, reason, field ON ourvidz.intake_messages FOR EACH ROW EXECUTE FUNCTION ourvidz.check_column_kinds();

CREATE TRIGGER moderation_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ourvidz.moderation_events FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.refuse_change();

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.age_reviews FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.age_reviews ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.executors FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.executors ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.intake_counts FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.intake_counts ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.intake_messages FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.intake_messages ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.moderation_events FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.moderation_events ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.screenings FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.screenings ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON ourvidz.token_entries FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE ourvidz.token_entries ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER rows_added AFTER INSERT ON ourvidz.age_reviews REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_added AFTER INSERT ON ourvidz.screenings REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows('stage = ''door''');

CREATE TRIGGER rows_gone AFTER DELETE ON ourvidz.age_reviews REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON ourvidz.screenings REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows('stage = ''door''');

CREATE TRIGGER screenings_kinds BEFORE INSERT OR UPDATE OF stage, policy_version, category, rule_id, digest ON ourvidz.screenings FOR EACH ROW EXECUTE FUNCTION ourvidz.check_column_kinds();

CREATE TRIGGER tokens_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ourvidz.token_entries FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.refuse_change('To correct it, write another: ourvidz.grant_tokens, ourvidz.revoke_tokens.');

CREATE TRIGGER tokens_move AFTER INSERT ON ourvidz.token_entries REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.tokens_move();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.characters FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.images FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.jobs FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.model_test_results FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.projects FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.scenes FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.system_config FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.usage_logs FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.user_activity_log FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER a_bounds BEFORE INSERT OR UPDATE ON public.videos FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.bound_row();

CREATE TRIGGER age_begin AFTER INSERT ON public.profiles FOR EACH ROW WHEN (new.age_verified) EXECUTE FUNCTION ourvidz.age_follow();

CREATE TRIGGER age_follow AFTER UPDATE ON public.profiles FOR EACH ROW WHEN (((old.age_verified IS DISTINCT FROM new.age_verified) OR (old.age_verified_until IS DISTINCT FROM new.age_verified_until))) EXECUTE FUNCTION ourvidz.age_follow();

CREATE TRIGGER artifact_removed AFTER UPDATE OF deleted_at ON public.artifacts FOR EACH ROW WHEN (((old.deleted_at IS NULL) AND (new.deleted_at IS NOT NULL))) EXECUTE FUNCTION ourvidz.artifact_removed();

CREATE TRIGGER artifacts_kinds BEFORE INSERT OR UPDATE OF kind, media_type ON public.artifacts FOR EACH ROW EXECUTE FUNCTION ourvidz.check_column_kinds();

CREATE TRIGGER balance_closed AFTER DELETE ON public.profiles FOR EACH ROW WHEN ((old.token_balance > 0)) EXECUTE FUNCTION ourvidz.balance_opened();

CREATE TRIGGER balance_guard AFTER UPDATE ON public.profiles FOR EACH ROW WHEN ((old.token_balance IS DISTINCT FROM new.token_balance)) EXECUTE FUNCTION ourvidz.balance_guard();

CREATE TRIGGER balance_opened AFTER INSERT ON public.profiles FOR EACH ROW WHEN ((new.token_balance > 0)) EXECUTE FUNCTION ourvidz.balance_opened();

CREATE TRIGGER events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.job_events FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.refuse_change();

CREATE TRIGGER events_apply AFTER INSERT ON public.job_events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.events_apply();

CREATE TRIGGER image_moderated AFTER UPDATE OF moderation_status ON public.images FOR EACH ROW WHEN (((old.moderation_status IS DISTINCT FROM new.moderation_status) AND (new.moderation_status = ANY (ARRAY['rejected'::text, 'approved'::text])) AND (CURRENT_USER <> 'ourvidz_owner'::name))) EXECUTE FUNCTION ourvidz.image_moderated();

CREATE TRIGGER image_reviewed BEFORE UPDATE OF reviewed_by ON public.images FOR EACH ROW WHEN (((new.reviewed_by IS NOT NULL) AND (old.reviewed_by IS DISTINCT FROM new.reviewed_by) AND (CURRENT_USER = ANY (ARRAY['authenticated'::name, 'ourvidz_admin'::name, 'service_role'::name])))) EXECUTE FUNCTION ourvidz.image_reviewed();

CREATE TRIGGER images_arrived AFTER INSERT ON public.images FOR EACH ROW WHEN (((new.job_id IS NOT NULL) AND (CURRENT_USER <> 'ourvidz_owner'::name))) EXECUTE FUNCTION ourvidz.images_changed();

CREATE TRIGGER images_changed AFTER UPDATE ON public.images FOR EACH ROW WHEN (((new.job_id IS NOT NULL) AND (CURRENT_USER <> 'ourvidz_owner'::name))) EXECUTE FUNCTION ourvidz.images_changed();

CREATE TRIGGER images_check_insert BEFORE INSERT ON public.images FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.images_check_insert();

CREATE TRIGGER images_objects_removed AFTER DELETE ON public.images FOR EACH ROW EXECUTE FUNCTION ourvidz.row_objects_removed();

CREATE TRIGGER images_removed BEFORE DELETE ON public.images FOR EACH ROW EXECUTE FUNCTION ourvidz.images_removed();

CREATE TRIGGER jobs_ask BEFORE INSERT ON public.jobs FOR EACH ROW WHEN ((pg_trigger_depth() = 0)) EXECUTE FUNCTION ourvidz.jobs_ask();

CREATE TRIGGER jobs_asked AFTER INSERT ON public.jobs REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT WHEN ((pg_trigger_depth() = 0)) EXECUTE FUNCTION ourvidz.jobs_asked();

CREATE TRIGGER jobs_bare_write BEFORE UPDATE OF id, status, version, head_hash, submitted_on, user_id, job_type, lane, project_id, video_id, image_id, priority, rank, run_at, claim_no, executor_id, claimed_at, deadline, attempts, errors, crashes, device_crashes, crashed_on, snoozes, cancel_requested, error_class, final, enhanced, generated, uploaded, hidden, created_at, updated_at, completed_at, error_message ON public.jobs FOR EACH ROW WHEN ((pg_trigger_depth() = 0)) EXECUTE FUNCTION ourvidz.refuse_bare_write();

CREATE TRIGGER jobs_delete BEFORE DELETE ON public.jobs FOR EACH ROW EXECUTE FUNCTION ourvidz.jobs_delete();

CREATE TRIGGER jobs_erased BEFORE UPDATE OF metadata, error_message ON public.jobs FOR EACH ROW WHEN (((pg_trigger_depth() = 0) AND (num_nonnulls(new.metadata, new.error_message) > 0))) EXECUTE FUNCTION ourvidz.drop_erased_text();

CREATE TRIGGER jobs_guard_insert AFTER INSERT ON public.jobs REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.jobs_guard_insert();

CREATE TRIGGER jobs_guard_update AFTER UPDATE ON public.jobs REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.jobs_guard_update();

CREATE TRIGGER jobs_never_deleted BEFORE TRUNCATE ON public.jobs FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.refuse_change();

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.artifacts FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.artifacts ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.characters FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.characters ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.consents FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.consents ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.images FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.images ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.job_events FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.job_events ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.jobs FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.jobs ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.model_test_results FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.model_test_results ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.profiles FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.profiles ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.projects FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.projects ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.scenes FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.scenes ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.system_config FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.system_config ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.usage_logs FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.usage_logs ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.user_activity_log FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.user_activity_log ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER replica_guard BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.videos FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.replica_guard();

ALTER TABLE public.videos ENABLE REPLICA TRIGGER replica_guard;

CREATE TRIGGER rows_added AFTER INSERT ON public.characters REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_added AFTER INSERT ON public.consents REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_added AFTER INSERT ON public.images REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_added AFTER INSERT ON public.projects REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_added AFTER INSERT ON public.scenes REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_added AFTER INSERT ON public.usage_logs REFERENCING NEW TABLE AS changed FOR EACH STATEMENT WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.count_rows('job_id is null', 'created_at');

CREATE TRIGGER rows_added AFTER INSERT ON public.user_activity_log REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows('true', 'created_at');

CREATE TRIGGER rows_added AFTER INSERT ON public.videos REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON public.characters REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON public.consents REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON public.images REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON public.projects REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON public.scenes REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_gone AFTER DELETE ON public.usage_logs REFERENCING OLD TABLE AS changed FOR EACH STATEMENT WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.count_rows('job_id is null', 'created_at');

CREATE TRIGGER rows_gone AFTER DELETE ON public.user_activity_log REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows('true', 'created_at');

CREATE TRIGGER rows_gone AFTER DELETE ON public.videos REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_grown AFTER UPDATE ON public.characters REFERENCING OLD TABLE AS gone NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_grown AFTER UPDATE ON public.projects REFERENCING OLD TABLE AS gone NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER rows_grown AFTER UPDATE ON public.scenes REFERENCING OLD TABLE AS gone NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ourvidz.count_rows();

CREATE TRIGGER verified_follow AFTER INSERT OR UPDATE OF age_verified ON public.profiles FOR EACH ROW WHEN (new.age_verified) EXECUTE FUNCTION ourvidz.verified_follow();

CREATE TRIGGER videos_changed AFTER UPDATE ON public.videos FOR EACH ROW WHEN ((CURRENT_USER <> 'ourvidz_owner'::name)) EXECUTE FUNCTION ourvidz.videos_changed();

CREATE TRIGGER videos_guard_insert BEFORE INSERT ON public.videos FOR EACH ROW WHEN (((new.status <> ALL (ARRAY['draft'::text, 'queued'::text])) OR (num_nonnulls(new.preview_url, new.video_url, new.thumbnail_url, new.preview_job_id, new.video_job_id, new.current_job_id, new.approved_at, new.duration, new.completed_at) > 0))) EXECUTE FUNCTION ourvidz.videos_guard();

CREATE TRIGGER videos_guard_update BEFORE UPDATE ON public.videos FOR EACH ROW WHEN (((((((((((old.status IS DISTINCT FROM new.status) OR (old.preview_url IS DISTINCT FROM new.preview_url)) OR (old.video_url IS DISTINCT FROM new.video_url)) OR (old.thumbnail_url IS DISTINCT FROM new.thumbnail_url)) OR (old.resolution IS DISTINCT FROM new.resolution)) OR (old.preview_job_id IS DISTINCT FROM new.preview_job_id)) OR (old.video_job_id IS DISTINCT FROM new.video_job_id)) OR (old.current_job_id IS DISTINCT FROM new.current_job_id)) OR (old.approved_at IS DISTINCT FROM new.approved_at)) OR (old.duration IS DISTINCT FROM new.duration))) EXECUTE FUNCTION ourvidz.videos_guard();

CREATE TRIGGER videos_objects_removed AFTER DELETE ON public.videos FOR EACH ROW EXECUTE FUNCTION ourvidz.row_objects_removed();

CREATE TRIGGER videos_removed BEFORE DELETE ON public.videos FOR EACH ROW EXECUTE FUNCTION ourvidz.videos_removed();

ALTER TABLE ONLY ourvidz.appeals
    ADD CONSTRAINT appeals_subject_fkey FOREIGN KEY (subject) REFERENCES ourvidz.takedowns(subject);

ALTER TABLE ONLY ourvidz.appeals
    ADD CONSTRAINT appeals_suspension_fkey FOREIGN KEY (suspension) REFERENCES ourvidz.suspensions(id);

ALTER TABLE ONLY ourvidz.plan_words
    ADD CONSTRAINT plan_words_plan_fkey FOREIGN KEY (plan) REFERENCES ourvidz.plans(name);

ALTER TABLE ONLY ourvidz.reports
    ADD CONSTRAINT reports_category_fkey FOREIGN KEY (category) REFERENCES ourvidz.report_rules(name);

ALTER TABLE ONLY ourvidz.reports
    ADD CONSTRAINT reports_subject_fkey FOREIGN KEY (subject) REFERENCES ourvidz.takedowns(subject);

ALTER TABLE ONLY ourvidz.transitions
    ADD CONSTRAINT transitions_event_fkey FOREIGN KEY (event) REFERENCES ourvidz.event_types(name);

ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT artifacts_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id);

ALTER TABLE ONLY public.characters
    ADD CONSTRAINT characters_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.consents
    ADD CONSTRAINT consents_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id);

ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id);

ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_reviewed_by_fkey FOREIGN KEY (reviewed_by) REFERENCES public.profiles(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.job_payloads
    ADD CONSTRAINT job_payloads_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_video_id_fkey FOREIGN KEY (video_id) REFERENCES public.videos(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.model_test_results
    ADD CONSTRAINT model_test_results_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.model_test_results
    ADD CONSTRAINT model_test_results_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.model_test_results
    ADD CONSTRAINT model_test_results_video_id_fkey FOREIGN KEY (video_id) REFERENCES public.videos(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_character_id_fkey FOREIGN KEY (character_id) REFERENCES public.characters(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.scenes
    ADD CONSTRAINT scenes_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.usage_logs
    ADD CONSTRAINT usage_logs_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.user_activity_log
    ADD CONSTRAINT user_activity_log_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.user_roles
    ADD CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.videos
    ADD CONSTRAINT videos_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.videos
    ADD CONSTRAINT videos_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY storage.objects
    ADD CONSTRAINT objects_bucket_id_fkey FOREIGN KEY (bucket_id) REFERENCES storage.buckets(id);

ALTER TABLE public.artifacts ENABLE ROW LEVEL SECURITY;

CREATE POLICY "authenticated delete" ON public.characters FOR DELETE TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated delete" ON public.images FOR DELETE TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated delete" ON public.jobs FOR DELETE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (NOT hidden)));

CREATE POLICY "authenticated delete" ON public.projects FOR DELETE TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated delete" ON public.scenes FOR DELETE TO authenticated USING ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "authenticated delete" ON public.videos FOR DELETE TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated insert" ON public.characters FOR INSERT TO authenticated WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated insert" ON public.images FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = images.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "authenticated insert" ON public.jobs FOR INSERT TO authenticated WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated insert" ON public.profiles FOR INSERT TO authenticated WITH CHECK ((id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated insert" ON public.projects FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((character_id IS NULL) OR (EXISTS ( SELECT
   FROM public.characters c
  WHERE ((c.id = projects.character_id) AND (c.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "authenticated insert" ON public.scenes FOR INSERT TO authenticated WITH CHECK ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "authenticated insert" ON public.usage_logs FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND COALESCE((((length(action) >= 1) AND (length(action) <= 100)) AND (length(format) <= 100) AND (length(quality) <= 100) AND ((credits_consumed >= (0)::numeric) AND (credits_consumed <= (1000000)::numeric))), true)));

CREATE POLICY "authenticated insert" ON public.videos FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = videos.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid)))))) AND COALESCE(((length(format) <= 100) AND (length(resolution) <= 100)), true)));

CREATE POLICY "authenticated select" ON public.artifacts FOR SELECT TO authenticated USING (((uploaded_at IS NOT NULL) AND (deleted_at IS NULL) AND (NOT taken_down) AND (split_part(path, '/'::text, 1) = (( SELECT auth.uid() AS uid))::text)));

CREATE POLICY "authenticated select" ON public.characters FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.consents FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.images FOR SELECT TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (NOT taken_down)));

CREATE POLICY "authenticated select" ON public.job_events FOR SELECT TO authenticated USING ((EXISTS ( SELECT
   FROM public.jobs j
  WHERE ((j.id = job_events.job_id) AND (j.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "authenticated select" ON public.job_payloads FOR SELECT TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (EXISTS ( SELECT
   FROM public.jobs j
  WHERE (j.id = job_payloads.job_id)))));

CREATE POLICY "authenticated select" ON public.jobs FOR SELECT TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (NOT hidden)));

CREATE POLICY "authenticated select" ON public.profiles FOR SELECT TO authenticated USING ((id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.projects FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.scenes FOR SELECT TO authenticated USING ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "authenticated select" ON public.usage_logs FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.user_activity_log FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.user_roles FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated select" ON public.videos FOR SELECT TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (NOT taken_down)));

CREATE POLICY "authenticated update" ON public.characters FOR UPDATE TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid))) WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated update" ON public.jobs FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (NOT hidden))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (NOT hidden)));

CREATE POLICY "authenticated update" ON public.profiles FOR UPDATE TO authenticated USING ((id = ( SELECT auth.uid() AS uid))) WITH CHECK ((id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "authenticated update" ON public.projects FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND ((character_id IS NULL) OR (EXISTS ( SELECT
   FROM public.characters c
  WHERE ((c.id = projects.character_id) AND (c.user_id = ( SELECT auth.uid() AS uid)))))))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((character_id IS NULL) OR (EXISTS ( SELECT
   FROM public.characters c
  WHERE ((c.id = projects.character_id) AND (c.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "authenticated update" ON public.scenes FOR UPDATE TO authenticated USING ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid)))))) WITH CHECK ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "authenticated update" ON public.videos FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = videos.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid)))))))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = videos.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid))))))));

ALTER TABLE public.characters ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.consents ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.images ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_payloads ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.jobs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.model_test_results ENABLE ROW LEVEL SECURITY;

CREATE POLICY "ourvidz_admin delete" ON public.characters FOR DELETE TO ourvidz_admin USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin delete" ON public.images FOR DELETE TO ourvidz_admin USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin delete" ON public.jobs FOR DELETE TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin delete" ON public.projects FOR DELETE TO ourvidz_admin USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin delete" ON public.scenes FOR DELETE TO ourvidz_admin USING ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "ourvidz_admin delete" ON public.videos FOR DELETE TO ourvidz_admin USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin insert" ON public.characters FOR INSERT TO ourvidz_admin WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin insert" ON public.images FOR INSERT TO ourvidz_admin WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = images.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "ourvidz_admin insert" ON public.jobs FOR INSERT TO ourvidz_admin WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin insert" ON public.model_test_results FOR INSERT TO ourvidz_admin WITH CHECK (true);

CREATE POLICY "ourvidz_admin insert" ON public.projects FOR INSERT TO ourvidz_admin WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((character_id IS NULL) OR (EXISTS ( SELECT
   FROM public.characters c
  WHERE ((c.id = projects.character_id) AND (c.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "ourvidz_admin insert" ON public.scenes FOR INSERT TO ourvidz_admin WITH CHECK ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "ourvidz_admin insert" ON public.system_config FOR INSERT TO ourvidz_admin WITH CHECK (true);

CREATE POLICY "ourvidz_admin insert" ON public.usage_logs FOR INSERT TO ourvidz_admin WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND COALESCE((((length(action) >= 1) AND (length(action) <= 100)) AND (length(format) <= 100) AND (length(quality) <= 100) AND ((credits_consumed >= (0)::numeric) AND (credits_consumed <= (1000000)::numeric))), true)));

CREATE POLICY "ourvidz_admin insert" ON public.videos FOR INSERT TO ourvidz_admin WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = videos.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid)))))) AND COALESCE(((length(format) <= 100) AND (length(resolution) <= 100)), true)));

CREATE POLICY "ourvidz_admin select" ON public.artifacts FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.characters FOR SELECT TO ourvidz_admin USING (( SELECT ourvidz.admin_reads('characters'::text) AS admin_reads));

CREATE POLICY "ourvidz_admin select" ON public.consents FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.images FOR SELECT TO ourvidz_admin USING (( SELECT ourvidz.admin_reads('images'::text) AS admin_reads));

CREATE POLICY "ourvidz_admin select" ON public.job_events FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.job_payloads FOR SELECT TO ourvidz_admin USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin select" ON public.jobs FOR SELECT TO ourvidz_admin USING (( SELECT ourvidz.admin_reads('jobs'::text) AS admin_reads));

CREATE POLICY "ourvidz_admin select" ON public.model_test_results FOR SELECT TO ourvidz_admin USING (( SELECT ourvidz.admin_reads('model_test_results'::text) AS admin_reads));

CREATE POLICY "ourvidz_admin select" ON public.profiles FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.projects FOR SELECT TO ourvidz_admin USING (( SELECT ourvidz.admin_reads('projects'::text) AS admin_reads));

CREATE POLICY "ourvidz_admin select" ON public.scenes FOR SELECT TO ourvidz_admin USING (( SELECT ourvidz.admin_reads('scenes'::text) AS admin_reads));

CREATE POLICY "ourvidz_admin select" ON public.system_config FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.usage_logs FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.user_activity_log FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.user_roles FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin select" ON public.videos FOR SELECT TO ourvidz_admin USING (true);

CREATE POLICY "ourvidz_admin update" ON public.characters FOR UPDATE TO ourvidz_admin USING ((user_id = ( SELECT auth.uid() AS uid))) WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "ourvidz_admin update" ON public.images FOR UPDATE TO ourvidz_admin USING (true) WITH CHECK (true);

CREATE POLICY "ourvidz_admin update" ON public.jobs FOR UPDATE TO ourvidz_admin USING (true) WITH CHECK (true);

CREATE POLICY "ourvidz_admin update" ON public.model_test_results FOR UPDATE TO ourvidz_admin USING (true) WITH CHECK (true);

CREATE POLICY "ourvidz_admin update" ON public.projects FOR UPDATE TO ourvidz_admin USING (((user_id = ( SELECT auth.uid() AS uid)) AND ((character_id IS NULL) OR (EXISTS ( SELECT
   FROM public.characters c
  WHERE ((c.id = projects.character_id) AND (c.user_id = ( SELECT auth.uid() AS uid)))))))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((character_id IS NULL) OR (EXISTS ( SELECT
   FROM public.characters c
  WHERE ((c.id = projects.character_id) AND (c.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "ourvidz_admin update" ON public.scenes FOR UPDATE TO ourvidz_admin USING ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid)))))) WITH CHECK ((project_id = ANY (ARRAY( SELECT projects.id
   FROM public.projects
  WHERE (projects.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "ourvidz_admin update" ON public.system_config FOR UPDATE TO ourvidz_admin USING (true) WITH CHECK (true);

CREATE POLICY "ourvidz_admin update" ON public.videos FOR UPDATE TO ourvidz_admin USING (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = videos.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid)))))))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND ((project_id IS NULL) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE ((p.id = videos.project_id) AND (p.user_id = ( SELECT auth.uid() AS uid))))))));

CREATE POLICY "ourvidz_analyst select" ON public.artifacts FOR SELECT TO ourvidz_analyst USING (true);

CREATE POLICY "ourvidz_analyst select" ON public.job_events FOR SELECT TO ourvidz_analyst USING (true);

CREATE POLICY "ourvidz_analyst select" ON public.jobs FOR SELECT TO ourvidz_analyst USING (true);

CREATE POLICY "ourvidz_executor select" ON public.artifacts FOR SELECT TO ourvidz_executor USING (true);

CREATE POLICY "ourvidz_executor select" ON public.job_events FOR SELECT TO ourvidz_executor USING (true);

CREATE POLICY "ourvidz_executor select" ON public.jobs FOR SELECT TO ourvidz_executor USING (true);

ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.scenes ENABLE ROW LEVEL SECURITY;

CREATE POLICY "service_role delete" ON public.images FOR DELETE TO service_role USING (true);

CREATE POLICY "service_role insert" ON public.images FOR INSERT TO service_role WITH CHECK (true);

CREATE POLICY "service_role insert" ON public.jobs FOR INSERT TO service_role WITH CHECK (true);

CREATE POLICY "service_role insert" ON public.usage_logs FOR INSERT TO service_role WITH CHECK (true);

CREATE POLICY "service_role select" ON public.artifacts FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.characters FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.images FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.jobs FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.model_test_results FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.profiles FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.projects FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.scenes FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.system_config FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.usage_logs FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.user_activity_log FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.user_roles FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role select" ON public.videos FOR SELECT TO service_role USING (true);

CREATE POLICY "service_role update" ON public.images FOR UPDATE TO service_role USING (true) WITH CHECK (true);

CREATE POLICY "service_role update" ON public.jobs FOR UPDATE TO service_role USING (true) WITH CHECK (true);

CREATE POLICY "service_role update" ON public.model_test_results FOR UPDATE TO service_role USING (true) WITH CHECK (true);

ALTER TABLE public.system_config ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.usage_logs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.user_activity_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.user_roles ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.videos ENABLE ROW LEVEL SECURITY;

ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;

ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;

CREATE POLICY "ourvidz admin" ON storage.objects FOR SELECT TO ourvidz_admin USING ((bucket_id = ANY ('{character-images,image7b_fast_enhanced,image7b_high_enhanced,image_fast,image_high,reference_images,scene-previews,sdxl_image_fast,sdxl_image_high,sdxl_image_premium,sdxl_img2img,video-thumbnails,video7b_fast_enhanced,video7b_high_enhanced,video_fast,video_high,videos-final,system-assets,system_assets}'::text[])));

COMMENT ON POLICY "ourvidz admin" ON storage.objects IS 'ourvidz: b8963f2b780e186a390bdda141570002';

CREATE POLICY "ourvidz delete" ON storage.objects FOR DELETE TO authenticated USING (((bucket_id = ANY ('{character-images,image7b_fast_enhanced,image7b_high_enhanced,image_fast,image_high,reference_images,scene-previews,sdxl_image_fast,sdxl_image_high,sdxl_image_premium,sdxl_img2img,video-thumbnails,video7b_fast_enhanced,video7b_high_enhanced,video_fast,video_high,videos-final}'::text[])) AND ((storage.foldername(name))[1] = (( SELECT auth.uid() AS uid))::text) AND ((bucket_id = ANY ('{character-images,reference_images}'::text[])) OR ourvidz.readable(bucket_id, name)) AND (NOT ( SELECT ourvidz.am_suspended() AS am_suspended)) AND (NOT ourvidz.is_withheld(bucket_id, name)) AND (NOT ( SELECT ourvidz.on_hold() AS on_hold))));

COMMENT ON POLICY "ourvidz delete" ON storage.objects IS 'ourvidz: e5febfd55e7f2a9efc3b5b9d5a2925cc';

CREATE POLICY "ourvidz own" ON storage.objects FOR SELECT TO authenticated USING (((bucket_id = ANY ('{character-images,image7b_fast_enhanced,image7b_high_enhanced,image_fast,image_high,reference_images,scene-previews,sdxl_image_fast,sdxl_image_high,sdxl_image_premium,sdxl_img2img,video-thumbnails,video7b_fast_enhanced,video7b_high_enhanced,video_fast,video_high,videos-final}'::text[])) AND ((storage.foldername(name))[1] = (( SELECT auth.uid() AS uid))::text) AND ((bucket_id = ANY ('{character-images,reference_images}'::text[])) OR ourvidz.readable(bucket_id, name)) AND (NOT ( SELECT ourvidz.am_suspended() AS am_suspended)) AND (NOT ourvidz.is_withheld(bucket_id, name))));

COMMENT ON POLICY "ourvidz own" ON storage.objects IS 'ourvidz: 46c050dff3a95495296dd739c3e08921';

CREATE POLICY "ourvidz public" ON storage.objects FOR SELECT TO anon, authenticated USING ((bucket_id = ANY ('{system-assets,system_assets}'::text[])));

COMMENT ON POLICY "ourvidz public" ON storage.objects IS 'ourvidz: c793f19486c0a70790266825307c8ff0';

CREATE POLICY "ourvidz service" ON storage.objects TO service_role USING ((bucket_id = ANY ('{character-images,image7b_fast_enhanced,image7b_high_enhanced,image_fast,image_high,reference_images,scene-previews,sdxl_image_fast,sdxl_image_high,sdxl_image_premium,sdxl_img2img,video-thumbnails,video7b_fast_enhanced,video7b_high_enhanced,video_fast,video_high,videos-final,system-assets,system_assets,quarantine}'::text[]))) WITH CHECK ((bucket_id = ANY ('{character-images,image7b_fast_enhanced,image7b_high_enhanced,image_fast,image_high,reference_images,scene-previews,sdxl_image_fast,sdxl_image_high,sdxl_image_premium,sdxl_img2img,video-thumbnails,video7b_fast_enhanced,video7b_high_enhanced,video_fast,video_high,videos-final,system-assets,system_assets,quarantine}'::text[])));

COMMENT ON POLICY "ourvidz service" ON storage.objects IS 'ourvidz: 81c8f976de7d399bd6e5f28cf7f852c9';

CREATE POLICY "ourvidz upload" ON storage.objects FOR INSERT TO authenticated WITH CHECK (((bucket_id = ANY ('{character-images,reference_images}'::text[])) AND ((storage.foldername(name))[1] = (( SELECT auth.uid() AS uid))::text) AND (name !~ '(^|/)[.]{1,2}(/|$)'::text) AND (NOT ( SELECT ourvidz.am_suspended() AS am_suspended)) AND (NOT ourvidz.is_withheld(bucket_id, name)) AND ( SELECT ourvidz.may_upload() AS may_upload)));

COMMENT ON POLICY "ourvidz upload" ON storage.objects IS 'ourvidz: 3197e596b574cefbcaa075409efd5462';

CREATE PUBLICATION supabase_realtime WITH (publish = 'insert, update, delete, truncate');

ALTER PUBLICATION supabase_realtime OWNER TO ourvidz;

ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.images;

ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.jobs;

ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.videos;

GRANT USAGE ON SCHEMA auth TO anon;
GRANT USAGE ON SCHEMA auth TO authenticated;
GRANT USAGE ON SCHEMA auth TO service_role;
GRANT USAGE ON SCHEMA auth TO ourvidz_admin;

GRANT ALL ON SCHEMA ourvidz TO ourvidz_owner;
GRANT USAGE ON SCHEMA ourvidz TO ourvidz_executor;
GRANT USAGE ON SCHEMA ourvidz TO ourvidz_intake;
GRANT USAGE ON SCHEMA ourvidz TO ourvidz_deliverer;
GRANT USAGE ON SCHEMA ourvidz TO ourvidz_analyst;

GRANT ALL ON SCHEMA public TO ourvidz_owner;
GRANT USAGE ON SCHEMA public TO anon;
GRANT USAGE ON SCHEMA public TO authenticated;
GRANT USAGE ON SCHEMA public TO service_role;
GRANT USAGE ON SCHEMA public TO ourvidz_admin;

GRANT USAGE ON SCHEMA storage TO anon;
GRANT USAGE ON SCHEMA storage TO authenticated;
GRANT USAGE ON SCHEMA storage TO service_role;
GRANT USAGE ON SCHEMA storage TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.actor(p_owner uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.admin_reads(p_table text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.admin_reads(p_table text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.advance(p_job uuid, p_claim bigint, p_token uuid, p_event text, p_data jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.advance(p_job uuid, p_claim bigint, p_token uuid, p_event text, p_data jsonb) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.advance_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.advance_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.advance_sequences() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_decided(p_user uuid, p_decision text, p_by text, p_how text, p_until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_expire(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_follow() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_look(p_user uuid, p_by text, p_how text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_of(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_pause() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_reviews_guard() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.age_states() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.all_refuse_pictures(p_lane text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.allowed(p_status text, p_held boolean, p_final boolean, p_cancel_requested boolean, p_fallback boolean, p_preview boolean) FROM PUBLIC;

GRANT SELECT,DELETE ON TABLE public.jobs TO authenticated;
GRANT SELECT ON TABLE public.jobs TO service_role;
GRANT SELECT,DELETE ON TABLE public.jobs TO ourvidz_admin;

GRANT SELECT(id) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(id) ON TABLE public.jobs TO ourvidz_analyst;

GRANT INSERT(status),UPDATE(status) ON TABLE public.jobs TO authenticated;
GRANT INSERT(status),UPDATE(status) ON TABLE public.jobs TO service_role;
GRANT INSERT(status),UPDATE(status) ON TABLE public.jobs TO ourvidz_admin;
GRANT SELECT(status) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(status) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(version) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(version) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(head_hash) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(head_hash) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(submitted_on) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(submitted_on) ON TABLE public.jobs TO ourvidz_analyst;

GRANT INSERT(user_id) ON TABLE public.jobs TO authenticated;
GRANT INSERT(user_id) ON TABLE public.jobs TO service_role;
GRANT SELECT(user_id) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(user_id) ON TABLE public.jobs TO ourvidz_analyst;
GRANT INSERT(user_id) ON TABLE public.jobs TO ourvidz_admin;

GRANT INSERT(job_type) ON TABLE public.jobs TO authenticated;
GRANT INSERT(job_type) ON TABLE public.jobs TO service_role;
GRANT SELECT(job_type) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(job_type) ON TABLE public.jobs TO ourvidz_analyst;
GRANT INSERT(job_type) ON TABLE public.jobs TO ourvidz_admin;

GRANT SELECT(lane) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(lane) ON TABLE public.jobs TO ourvidz_analyst;

GRANT INSERT(project_id) ON TABLE public.jobs TO authenticated;
GRANT INSERT(project_id) ON TABLE public.jobs TO service_role;
GRANT SELECT(project_id) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(project_id) ON TABLE public.jobs TO ourvidz_analyst;
GRANT INSERT(project_id) ON TABLE public.jobs TO ourvidz_admin;

GRANT INSERT(video_id),UPDATE(video_id) ON TABLE public.jobs TO authenticated;
GRANT INSERT(video_id) ON TABLE public.jobs TO service_role;
GRANT INSERT(video_id),UPDATE(video_id) ON TABLE public.jobs TO ourvidz_admin;
GRANT SELECT(video_id) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(video_id) ON TABLE public.jobs TO ourvidz_analyst;

GRANT INSERT(image_id),UPDATE(image_id) ON TABLE public.jobs TO authenticated;
GRANT INSERT(image_id) ON TABLE public.jobs TO service_role;
GRANT INSERT(image_id),UPDATE(image_id) ON TABLE public.jobs TO ourvidz_admin;
GRANT SELECT(image_id) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(image_id) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(priority) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(priority) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(rank) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(rank) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(ready) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(ready) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(run_at) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(run_at) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(claim_no) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(claim_no) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(executor_id) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(executor_id) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(claimed_at) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(claimed_at) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(deadline) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(deadline) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(attempts) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(attempts) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(errors) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(errors) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(crashes) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(crashes) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(device_crashes) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(device_crashes) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(crashed_on) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(crashed_on) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(snoozes) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(snoozes) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(cancel_requested) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(cancel_requested) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(error_class) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(error_class) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(final) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(final) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(enhanced) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(enhanced) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(generated) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(generated) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(uploaded) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(uploaded) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(created_at) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(created_at) ON TABLE public.jobs TO ourvidz_analyst;

GRANT SELECT(updated_at) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(updated_at) ON TABLE public.jobs TO ourvidz_analyst;

GRANT UPDATE(completed_at) ON TABLE public.jobs TO service_role;
GRANT SELECT(completed_at) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(completed_at) ON TABLE public.jobs TO ourvidz_analyst;

GRANT INSERT(format) ON TABLE public.jobs TO authenticated;
GRANT INSERT(format) ON TABLE public.jobs TO service_role;
GRANT SELECT(format) ON TABLE public.jobs TO ourvidz_executor;
GRANT INSERT(format) ON TABLE public.jobs TO ourvidz_admin;

GRANT INSERT(quality) ON TABLE public.jobs TO authenticated;
GRANT INSERT(quality) ON TABLE public.jobs TO service_role;
GRANT SELECT(quality) ON TABLE public.jobs TO ourvidz_executor;
GRANT INSERT(quality) ON TABLE public.jobs TO ourvidz_admin;

GRANT INSERT(model_type) ON TABLE public.jobs TO authenticated;
GRANT INSERT(model_type) ON TABLE public.jobs TO service_role;
GRANT SELECT(model_type) ON TABLE public.jobs TO ourvidz_executor;
GRANT INSERT(model_type) ON TABLE public.jobs TO ourvidz_admin;

GRANT SELECT(worker_type) ON TABLE public.jobs TO ourvidz_executor;

GRANT INSERT(metadata) ON TABLE public.jobs TO authenticated;
GRANT INSERT(metadata),UPDATE(metadata) ON TABLE public.jobs TO service_role;
GRANT INSERT(metadata) ON TABLE public.jobs TO ourvidz_admin;

GRANT UPDATE(error_message) ON TABLE public.jobs TO authenticated;
GRANT UPDATE(error_message) ON TABLE public.jobs TO service_role;
GRANT UPDATE(error_message) ON TABLE public.jobs TO ourvidz_admin;

GRANT SELECT(hidden) ON TABLE public.jobs TO ourvidz_executor;
GRANT SELECT(hidden) ON TABLE public.jobs TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.allowed_next(j public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.am_suspended() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.am_suspended() TO authenticated;

REVOKE ALL ON FUNCTION ourvidz.annotate(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_event text, p_data jsonb[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_age_message(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_age_status(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_appeal(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_approve_preview(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_ask_enhancement(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_attest_consent(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_bound_row(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_cancel_job(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_change_job(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_delete_job(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_enhancement(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_file_report(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_image_row(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_job_status(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_moderate(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_my_restrictions(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_plain_events(p_jobs jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_plain_row(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_queue_job(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_read_prompt(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_report_queue(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_report_refusal(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_request_age_review(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_retry_job(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_too_many_rows(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_verify_age(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_withdraw_consent(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.api_wrote_too_much(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.appeal_decide(p_appeal uuid, p_granted boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.appeal_seen(a ourvidz.appeals) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.append(p_jobs uuid[], p_type text, p_data jsonb[], p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.append_held(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_type text, p_data jsonb[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.append_one(p_job uuid, p_claim bigint, p_token uuid, p_type text, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.artifact_generated(p_job uuid, p_claim bigint, p_token uuid, p_artifact jsonb, p_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.artifact_generated(p_job uuid, p_claim bigint, p_token uuid, p_artifact jsonb, p_seconds double precision) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.artifact_removed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.artifact_uploaded(p_job uuid, p_claim bigint, p_token uuid, p_kind text, p_index integer, p_sha256 text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.artifact_uploaded(p_job uuid, p_claim bigint, p_token uuid, p_kind text, p_index integer, p_sha256 text) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.artifacts_removed(p_jobs uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.as_settings(p_statement_s integer, p_lock_s integer, p_idle_s integer, p_work_mem_mb integer) FROM PUBLIC;

GRANT SELECT ON TABLE public.consents TO authenticated;
GRANT SELECT ON TABLE public.consents TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.attest(p_user uuid, p_sha256 text, p_version text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.awaits_approval(p_job uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.backoff(p_failures integer, p_job_type text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.balance_guard() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.balance_opened() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.beside(j public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.block_add(p_sha256 text[], p_pdq text[], p_source text, p_actor text, p_subject text, p_report uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.block_drop(p_source text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.block_output(p_subject text, p_actor text, p_cause text, p_report uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.bound_row() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.caller(OUT role text, OUT user_id uuid, OUT admin boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.cancel(p_job uuid, p_version integer, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.canonical_sampler(p_limit jsonb, p_value jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.event_xid() FROM PUBLIC;

GRANT SELECT ON TABLE public.job_events TO ourvidz_executor;
GRANT SELECT ON TABLE public.job_events TO ourvidz_analyst;
GRANT SELECT ON TABLE public.job_events TO authenticated;
GRANT SELECT ON TABLE public.job_events TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.charge_due(e public.job_events, p_held bigint, p_since integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_blocked(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text, p_pdq text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.check_blocked(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text, p_pdq text[]) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.check_column_kinds() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_consent(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.check_consent(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.check_enhancements(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_executor(p_executor uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_executor_info(p_names text[], p_info jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_insert_columns(n public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_job_access(p_job text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_lanes(p_lanes text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_message(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_owned(a ourvidz.asked_job) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_pace(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_pictures(p_fresh ourvidz.asked_job[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_references(p_kind ourvidz.job_types, p_references jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_references_and_settings(a ourvidz.asked_job, p_kind ourvidz.job_types) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_registration(p_name text, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_request(p jsonb, p_bounded boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_requests(p_asked ourvidz.asked_job[], p_lock boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_retries(p_user uuid) FROM PUBLIC;

GRANT SELECT(job_id) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(job_id) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(user_id) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(user_id) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(prompt) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(prompt) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(negative_prompt) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(negative_prompt) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(settings) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(settings) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(metadata) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(metadata) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(idempotency_key) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(idempotency_key) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(enhanced_prompt) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(enhanced_prompt) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(error_message) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(error_message) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(set_aside) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(set_aside) ON TABLE public.job_payloads TO ourvidz_admin;

GRANT SELECT(source) ON TABLE public.job_payloads TO authenticated;
GRANT SELECT(source) ON TABLE public.job_payloads TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.check_same_request(a ourvidz.asked_job, p public.job_payloads) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_settings(p_job_type text, p_settings jsonb, p_limits jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_unfinished(p_user uuid, p_more integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_value(p jsonb, p_field text, p_bytes integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_values(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_verified(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_word(p_word text, p_field text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.check_written(p_bytes bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.claim(p_executor uuid, p_lanes text[], p_resident text[], p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.claim(p_executor uuid, p_lanes text[], p_resident text[], p_limit integer) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.claim_from_lane(p_executor uuid, p_name text, p_lane text, p_limit integer, p_overdue timestamp with time zone, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.claim_token(secret uuid, job_id uuid, claim_no bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.claims_left() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.complete(p_job uuid, p_claim bigint, p_token uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.complete(p_job uuid, p_claim bigint, p_token uuid) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.complete_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.complete_batch(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.complete_settings(p_kind ourvidz.job_types, p_asked jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.copies_of(p_row ourvidz.takedowns, p_sha256 text[], p_pdq text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.count_claims(p_claims integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.count_rows() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.declare_gone(p_executor uuid, p_cause text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.delivered(p_job uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.descendants(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.drain(p_executor uuid, p_done boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.drain(p_executor uuid, p_done boolean) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.drop_erased_text() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.drop_storage_leaks() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.end_message(j public.jobs, p_type text, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.end_metadata(j public.jobs, p_type text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.ended_in_this_system(p_job uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.enhance_expire() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.enhance_patience() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.enhanced(p_job uuid, p_claim bigint, p_token uuid, p_text text, p_seconds double precision, p_tokens integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.enhanced(p_job uuid, p_claim bigint, p_token uuid, p_text text, p_seconds double precision, p_tokens integer) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.enhancement_claim(p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.enhancement_claim(p_name text) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.enhancement_finish(p_id uuid, p_claim integer, p_answer jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.enhancement_finish(p_id uuid, p_claim integer, p_answer jsonb) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.enhancement_heartbeat(p_name text, p_id uuid, p_claim integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.enhancement_heartbeat(p_name text, p_id uuid, p_claim integer) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.enhancer_beat(p_name text, waiting boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.entry(p_user uuid, p_lane text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erase_add_counts(p_user uuid, p_counts jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erase_begin(p_user uuid, p_reason text, p_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erase_finish(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erase_lock(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erase_rows(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erase_user_data(p_user uuid, p_try boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.erasure_unhandled_rows(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.event_columns(j public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.event_hash(prev_hash bytea, job_id uuid, version integer, type text, from_status text, to_status text, claim_no bigint, actor text, occurred_at timestamp with time zone, data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.events_apply() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.events_needing_permission() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.evolve(j public.jobs, e public.job_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.evolve_step(j public.jobs, e public.job_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.executor_gone(p_executor uuid, p_cause text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.executor_gone(p_executor uuid, p_cause text) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.expire_claim(j public.jobs, p_cause text, p_on_device boolean, p_blamed boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.fail(p_job uuid, p_claim bigint, p_token uuid, p_class text, p_message text, p_retryable boolean, p_final boolean, p_verdict jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.fail(p_job uuid, p_claim bigint, p_token uuid, p_class text, p_message text, p_retryable boolean, p_final boolean, p_verdict jsonb) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.fail_attempt(j public.jobs, p_class text, p_retryable boolean, p_actor text, p_more jsonb) FROM PUBLIC;

GRANT SELECT,DELETE ON TABLE public.videos TO authenticated;
GRANT SELECT ON TABLE public.videos TO service_role;
GRANT SELECT,DELETE ON TABLE public.videos TO ourvidz_admin;

GRANT INSERT(project_id),UPDATE(project_id) ON TABLE public.videos TO authenticated;
GRANT INSERT(project_id),UPDATE(project_id) ON TABLE public.videos TO ourvidz_admin;

GRANT INSERT(user_id) ON TABLE public.videos TO authenticated;
GRANT INSERT(user_id) ON TABLE public.videos TO ourvidz_admin;

GRANT INSERT(scene_number),UPDATE(scene_number) ON TABLE public.videos TO authenticated;
GRANT INSERT(scene_number),UPDATE(scene_number) ON TABLE public.videos TO ourvidz_admin;

GRANT INSERT(status) ON TABLE public.videos TO authenticated;
GRANT INSERT(status) ON TABLE public.videos TO ourvidz_admin;

GRANT INSERT(resolution) ON TABLE public.videos TO authenticated;
GRANT INSERT(resolution) ON TABLE public.videos TO ourvidz_admin;

GRANT INSERT(format) ON TABLE public.videos TO authenticated;
GRANT INSERT(format) ON TABLE public.videos TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.final_of(p_scene public.videos, p_choice jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.first_event(a ourvidz.asked_job, p_rank double precision, p_salt bytea, p_at timestamp with time zone, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.generation_seconds(p_job uuid, p_before integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.grant_tokens(p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.heartbeat(p_executor uuid, p_resident text[], p_lanes text[], p_info jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.heartbeat(p_executor uuid, p_resident text[], p_lanes text[], p_info jsonb) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.held_down(p_subject text, p_but uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.help(p_part text, p_at_page text, p_else text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.hold_lift(p_user uuid, p_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.hold_set(p_user uuid, p_reason text, p_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.honour_cancel(p_job uuid, p_claim bigint, p_token uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.honour_cancel(p_job uuid, p_claim bigint, p_token uuid) TO ourvidz_executor;

GRANT SELECT ON TABLE ourvidz.identities TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.identities TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.identities TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.identities TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.identity() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.image_moderated() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.image_reviewed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.images_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.images_check_insert() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.images_removed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.images_taken(p_jobs uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.import_legacy() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.initial_job(e public.job_events, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.insert_payloads(p_fresh ourvidz.asked_job[], p_salts bytea[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.insert_submitted(p_fresh ourvidz.asked_job[], p_now timestamp with time zone, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake(p_queue text, p_messages jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.intake(p_queue text, p_messages jsonb) TO ourvidz_intake;

REVOKE ALL ON FUNCTION ourvidz.intake_forget(p_older interval) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.intake_forget(p_older interval) TO ourvidz_intake;

REVOKE ALL ON FUNCTION ourvidz.intake_fresh(p_messages jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake_join(p_raw jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake_limit_users(p_users uuid[], p_tokens bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake_one(p_message jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake_record(p_queue text, p_records jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.intake_record(p_queue text, p_records jsonb) TO ourvidz_intake;

REVOKE ALL ON FUNCTION ourvidz.intake_settings(j public.jobs, a ourvidz.asked_job) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake_submit(p_raw jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.intake_users() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.intake_users() TO ourvidz_intake;

REVOKE ALL ON FUNCTION ourvidz.invalid_keys(p_type text, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.is_blocked(p_sha256 text, p_pdq text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.is_copy() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.is_copy() TO ourvidz_executor;
GRANT ALL ON FUNCTION ourvidz.is_copy() TO ourvidz_intake;
GRANT ALL ON FUNCTION ourvidz.is_copy() TO ourvidz_deliverer;
GRANT ALL ON FUNCTION ourvidz.is_copy() TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.is_made_for(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.is_suspended(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.is_withdrawn(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.is_withheld(p_bucket text, p_path text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.is_withheld(p_bucket text, p_path text) TO authenticated;

REVOKE ALL ON FUNCTION ourvidz.issue_tokens(p_kind text, p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.job_as_of(p_job uuid, p_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.job_as_of(p_job uuid, p_at timestamp with time zone) TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.job_texts(p_job uuid, p_claim bigint, p_token uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.job_texts(p_job uuid, p_claim bigint, p_token uuid) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.job_view(p_job uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.jobs_ask() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.jobs_asked() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.jobs_delete() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.jobs_guard_insert() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.jobs_guard_update() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.jobs_of_executor(p_executor uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.jobs_of_executor(p_executor uuid) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.json_number(p double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.kind_of(p_type text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.known_or_other(p_column text, p_value text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lane_of(p_family text, p_settings jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lane_order(p_lanes text[], p_resident text[], p_since timestamp with time zone, p_patience timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.lane_order(p_lanes text[], p_resident text[], p_since timestamp with time zone, p_patience timestamp with time zone) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.lane_served(p_lane text, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.ledger_follow(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.legacy_columns(k ourvidz.job_types, w public.job_payloads) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.legacy_jobs_read(p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.legacy_request(p_user uuid, p_type text, p_metadata jsonb, p_prompt text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.library_follow(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.library_title(p_metadata jsonb, p_prompt text, p_untitled text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.limit_said(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.limits_of(p_login name) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.link(p_job uuid, p_image uuid, p_video uuid, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.live_follow(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_at_version(p_job uuid, p_version integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_claims(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_names(p_kind text, p_names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_profiles(p_users uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_scene(p_video uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_user_submissions(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.lock_verified(p_users uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.matches_kind(p_value jsonb, p_kind jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.may_change_library(j public.jobs, p_type text, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.may_reroute(p_job_type text, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.may_run(user_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.may_upload() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.may_upload() TO authenticated;

REVOKE ALL ON FUNCTION ourvidz.mirror_role(p_user uuid, p_role text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.moderated(p_type text, p_actor text, p_report uuid, p_subject text, p_user uuid, p_appeal uuid, p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.moderator() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.new_profile() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.newest_stage_job(v public.videos, p_final boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.newest_upload(p_user uuid, p_newer bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.newest_upload(p_user uuid, p_newer bigint) TO ourvidz_owner;

REVOKE ALL ON FUNCTION ourvidz.next_event(j public.jobs, p_type text, p_data jsonb, p_actor text, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.next_rank(p_user uuid, p_lane text, p_jobs bigint, OUT start double precision, OUT step double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.next_xid_offset() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.normalise(request jsonb, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.normalise_requests(p_jobs jsonb, p_source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.now() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.now() TO ourvidz_executor;
GRANT ALL ON FUNCTION ourvidz.now() TO ourvidz_deliverer;
GRANT ALL ON FUNCTION ourvidz.now() TO ourvidz_intake;
GRANT ALL ON FUNCTION ourvidz.now() TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.objects_of(p_subject text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.oldest_served() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.oldest_served() TO ourvidz_executor;
GRANT ALL ON FUNCTION ourvidz.oldest_served() TO ourvidz_intake;
GRANT ALL ON FUNCTION ourvidz.oldest_served() TO ourvidz_deliverer;
GRANT ALL ON FUNCTION ourvidz.oldest_served() TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.on_device(p_executor uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.on_device(p_executor uuid) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.on_hold() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.on_hold() TO authenticated;

REVOKE ALL ON FUNCTION ourvidz.operates() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.origins(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.other_columns() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.our_functions() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.our_logins() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.our_relations() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.our_relations() TO ourvidz_executor;
GRANT ALL ON FUNCTION ourvidz.our_relations() TO ourvidz_intake;
GRANT ALL ON FUNCTION ourvidz.our_relations() TO ourvidz_deliverer;
GRANT ALL ON FUNCTION ourvidz.our_relations() TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.outbox TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.outbox TO ourvidz_executor;

GRANT SELECT(id) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(receiver) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(job_id) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(job_version) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(status) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(created_at) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(attempts) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(next_at) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(delivered_at) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(dead_at) ON TABLE ourvidz.outbox TO ourvidz_analyst;

GRANT SELECT(last_status) ON TABLE ourvidz.outbox TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.outbox_body(o ourvidz.outbox) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.outbox_delays() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.outbox_due() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.outbox_due() TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.outbox_follow(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.outbox_prune() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.outbox_prune() TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.outbox_redeliver(p_messages uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.outbox_sent(p_message uuid, p_status integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.outbox_sent(p_message uuid, p_status integer) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.outbox_take(p_receiver text, p_lease double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.outbox_take(p_receiver text, p_lease double precision) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.outbox_unsent(p_message uuid, p_attempts integer, p_status integer, p_error text, p_wait double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.outbox_unsent(p_message uuid, p_attempts integer, p_status integer, p_error text, p_wait double precision) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.output_act(p_named text, p_verb text, p_actor text, p_cause text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.output_of(p_named text) FROM PUBLIC;

GRANT SELECT ON TABLE public.artifacts TO ourvidz_executor;
GRANT SELECT ON TABLE public.artifacts TO authenticated;
GRANT SELECT ON TABLE public.artifacts TO service_role;
GRANT SELECT ON TABLE public.artifacts TO ourvidz_admin;

GRANT SELECT(job_id) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(index) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(kind) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(claim_no) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(seed) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(media_type) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(width) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(height) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(frames) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(bytes) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(uploaded_at) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(created_at) ON TABLE public.artifacts TO ourvidz_analyst;

GRANT SELECT(deleted_at) ON TABLE public.artifacts TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.output_subject(a public.artifacts) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.outputs_asked(p_job uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.pdq_of(p_hex text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.pictures_of(j public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.place_of(p_lane text, p_type text, p_rank double precision, p_run_at timestamp with time zone, OUT n bigint, OUT eta double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.plan_of(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.price_of(p_type text, p_settings jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.price_without_enhancement(k ourvidz.job_types) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.priority_offset(priority integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.profile_lock(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.promote(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.quarantine_lease(p_limit integer, p_lease double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.quarantine_lease(p_limit integer, p_lease double precision) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.quarantine_moved(p_buckets text[], p_paths text[], p_away boolean[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.quarantine_moved(p_buckets text[], p_paths text[], p_away boolean[]) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.queue_position(j public.jobs, OUT n bigint, OUT eta double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_frames(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_message(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_names(p_requests ourvidz.request[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_reference(p_user uuid, p_value jsonb, p_newer bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_requests(p_jobs jsonb, p_source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_settings(p_requests ourvidz.request[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.read_text(p_job uuid, p_actor text, p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.readable(p_bucket text, p_path text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.readable(p_bucket text, p_path text) TO authenticated;

REVOKE ALL ON FUNCTION ourvidz.realtime_leaks() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.realtime_send(p_payload jsonb, p_topic text) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.realtime_send(p_payload jsonb, p_topic text) TO ourvidz_owner;

REVOKE ALL ON FUNCTION ourvidz.reap() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.reap() TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.receiver_enable(p_name text, p_on boolean, p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.receiver_set(p_name text, p_url text, p_events text[], p_secret_env text, p_fields text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.record_refusal(p_user uuid, p_category text, p_version text, p_rule text, p_digest text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_bare_write() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_by_http(p_state text, p_message text, p_detail text, p_hint text, p_field text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_copy() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_event(p_job uuid, p_version integer, p_type text, p_from text, p_to text, p_claim_no bigint, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_events_out_of_order() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_missing(p_what text, p_field text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_pace(p_plan ourvidz.plans, p_since timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_stale(p_job uuid, p_claim bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_suspended(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_unconsented(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.refuse_unverified(p_user uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.removals_done(p_buckets text[], p_paths text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.removals_done(p_buckets text[], p_paths text[]) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.removals_lease(p_limit integer, p_lease double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.removals_lease(p_limit integer, p_lease double precision) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.remove_from_library(p_job uuid, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.replica_guard() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.repoint_legacy() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_act(p_report uuid, p_verb text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_checked(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_counted(p_source text, p_rule ourvidz.report_rules) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_forget(p_report uuid, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_hides(p_taken ourvidz.takedowns, p_rule ourvidz.report_rules, p_valid boolean, p_source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_link(p_job uuid, p_index integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_may_hide(p_source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.report_source(p_source text, p_day date) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reports_forget(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reprioritise(p_job uuid, p_priority integer, p_version integer, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reraise_unless_refusal(p_state text, p_message text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reroute(p_job uuid, p_version integer, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reroute_job(j public.jobs, p_reason text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reroute_settings(p_kind ourvidz.job_types, p_fallback ourvidz.job_types, p_settings jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.reroute_stranded(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.restored(p_how text, p_keep_jobs boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.retry(p_job uuid, p_version integer, p_actor text, p_charge boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.retry_price(j public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.revoke_tokens(p_user uuid, p_amount bigint, p_reason text, p_key text, p_actor text, OUT balance bigint, OUT created boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.roles_follow() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.row_objects(p_row jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.row_objects_removed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.row_taken(p_row uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.rpc(p_verb text, p_asked jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.run_projections(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.salt() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.salted(p_job uuid, p_data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.sampler_with_schedule(p_limit jsonb, p_said jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.scalar_matches_kind(p_value jsonb, p_kind jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.scheduler_key(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.screenings_follow(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.server_identity(OUT system_identifier bigint, OUT database_oid oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.set_limits(p_login name, p_reset boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.settled_xid() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.settled_xid() TO ourvidz_executor;
GRANT ALL ON FUNCTION ourvidz.settled_xid() TO ourvidz_intake;
GRANT ALL ON FUNCTION ourvidz.settled_xid() TO ourvidz_deliverer;
GRANT ALL ON FUNCTION ourvidz.settled_xid() TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.signed_in() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.snooze(p_job uuid, p_claim bigint, p_token uuid, p_reason text, p_delay double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.snooze(p_job uuid, p_claim bigint, p_token uuid, p_reason text, p_delay double precision) TO ourvidz_executor;

REVOKE ALL ON FUNCTION ourvidz.stage_output(p_job uuid, p_final boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.stay_quiet(p_keep_jobs boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.stop_jobs(user_id uuid, reason text, actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.stop_remaining(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_allows(p_holds text, p_caller text, p_verb text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_attempt(p_verb text, p_buckets text[], p_owner uuid, p_role text, p_claims jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_callers(p_owner uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_leaks(p_ours jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_policies() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_probe(p_relation regclass, p_expression text, p_rows jsonb, p_role text, p_claims jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_probes(p_ours jsonb, p_owner uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.storage_trial() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.submit(request jsonb, source text, dry_run boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.submit_batch(p_jobs jsonb, p_actor text, p_source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.submit_dry(p_request jsonb, p_source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.submitted(p_job uuid, p_created boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.suspend(p_user uuid, p_reason text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.suspension_found(p_id uuid, p_bucket text, p_paths text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.suspension_found(p_id uuid, p_bucket text, p_paths text[]) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.suspension_lift(p_user uuid, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.suspension_swept(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.suspension_swept(p_id uuid) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.suspensions_take(p_lease double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.suspensions_take(p_lease double precision) TO ourvidz_deliverer;

REVOKE ALL ON FUNCTION ourvidz.sync_images(p_jobs uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.sync_library(p_jobs uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.sync_takedown_rows(p_row ourvidz.takedowns) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.sync_videos(p_videos uuid[], p_wait boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.takedown(p_subject text, p_state text, p_actor text, p_cause text, p_reviewed boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.takedown_objects(p_subject text, p_down boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.takedown_of(p_output ourvidz.takedowns) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.terminate_overlong_sessions() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.tests_follow(p_jobs uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.tokens_move() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.typical_seconds() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.unblock_output(p_subject text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.unlimited_logins() FROM PUBLIC;
GRANT ALL ON FUNCTION ourvidz.unlimited_logins() TO ourvidz_executor;
GRANT ALL ON FUNCTION ourvidz.unlimited_logins() TO ourvidz_intake;
GRANT ALL ON FUNCTION ourvidz.unlimited_logins() TO ourvidz_deliverer;
GRANT ALL ON FUNCTION ourvidz.unlimited_logins() TO ourvidz_analyst;

REVOKE ALL ON FUNCTION ourvidz.url_decoded(p text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.usage_follow(p_events public.job_events[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.utc_text(p timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.verdict(p jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.verified_follow() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.verify_age(p_user uuid, p_verified boolean, p_how text, p_by text, p_until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.video_from_events(v public.videos) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.videos_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.videos_guard() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.videos_removed() FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.virtual_time(p_lane text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.waits_for(j public.jobs) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.wake(p_lane text, p_jobs bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.weighted_prompt(p_prompt text, p_chosen jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.why_no_consent(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.why_not_reroute(p_job uuid, p_type text, p_settings jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.why_not_run(user_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.wire_side(p_size jsonb, p_place integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION ourvidz.withdraw(p_user uuid, p_sha256 text) FROM PUBLIC;

REVOKE ALL ON FUNCTION public.age_message(provider text, message_id text, user_id uuid, decision text, reference text, until timestamp with time zone, said_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.age_message(provider text, message_id text, user_id uuid, decision text, reference text, until timestamp with time zone, said_at timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.age_status() FROM PUBLIC;
GRANT ALL ON FUNCTION public.age_status() TO authenticated;
GRANT ALL ON FUNCTION public.age_status() TO service_role;
GRANT ALL ON FUNCTION public.age_status() TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.appeal(said text, output text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.appeal(said text, output text) TO authenticated;
GRANT ALL ON FUNCTION public.appeal(said text, output text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.approve_preview(video_id uuid, job_type text, config jsonb, idempotency_key text, index integer, charge boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.approve_preview(video_id uuid, job_type text, config jsonb, idempotency_key text, index integer, charge boolean) TO authenticated;
GRANT ALL ON FUNCTION public.approve_preview(video_id uuid, job_type text, config jsonb, idempotency_key text, index integer, charge boolean) TO service_role;
GRANT ALL ON FUNCTION public.approve_preview(video_id uuid, job_type text, config jsonb, idempotency_key text, index integer, charge boolean) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.ask_enhancement(prompt text, job_type text, format text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ask_enhancement(prompt text, job_type text, format text) TO authenticated;
GRANT ALL ON FUNCTION public.ask_enhancement(prompt text, job_type text, format text) TO service_role;
GRANT ALL ON FUNCTION public.ask_enhancement(prompt text, job_type text, format text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.attest_consent(sha256 text, statement_version text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.attest_consent(sha256 text, statement_version text) TO authenticated;
GRANT ALL ON FUNCTION public.attest_consent(sha256 text, statement_version text) TO service_role;
GRANT ALL ON FUNCTION public.attest_consent(sha256 text, statement_version text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.before_request() FROM PUBLIC;
GRANT ALL ON FUNCTION public.before_request() TO anon;
GRANT ALL ON FUNCTION public.before_request() TO authenticated;
GRANT ALL ON FUNCTION public.before_request() TO service_role;
GRANT ALL ON FUNCTION public.before_request() TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.cancel_job(job_id uuid, version integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.cancel_job(job_id uuid, version integer) TO authenticated;
GRANT ALL ON FUNCTION public.cancel_job(job_id uuid, version integer) TO service_role;
GRANT ALL ON FUNCTION public.cancel_job(job_id uuid, version integer) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.enhancement(request_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.enhancement(request_id uuid) TO authenticated;
GRANT ALL ON FUNCTION public.enhancement(request_id uuid) TO service_role;
GRANT ALL ON FUNCTION public.enhancement(request_id uuid) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.file_report(id uuid, category text, source text, output text, contact text, signature text, said text, good_faith boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.file_report(id uuid, category text, source text, output text, contact text, signature text, said text, good_faith boolean) TO service_role;

REVOKE ALL ON FUNCTION public.has_role(_user_id uuid, _role public.app_role) FROM PUBLIC;
GRANT ALL ON FUNCTION public.has_role(_user_id uuid, _role public.app_role) TO anon;
GRANT ALL ON FUNCTION public.has_role(_user_id uuid, _role public.app_role) TO authenticated;
GRANT ALL ON FUNCTION public.has_role(_user_id uuid, _role public.app_role) TO service_role;
GRANT ALL ON FUNCTION public.has_role(_user_id uuid, _role public.app_role) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.job_status(job_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.job_status(job_id uuid) TO authenticated;
GRANT ALL ON FUNCTION public.job_status(job_id uuid) TO service_role;
GRANT ALL ON FUNCTION public.job_status(job_id uuid) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.job_types() FROM PUBLIC;
GRANT ALL ON FUNCTION public.job_types() TO anon;
GRANT ALL ON FUNCTION public.job_types() TO authenticated;
GRANT ALL ON FUNCTION public.job_types() TO service_role;
GRANT ALL ON FUNCTION public.job_types() TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.moderate(verb text, report uuid, output text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.moderate(verb text, report uuid, output text) TO service_role;
GRANT ALL ON FUNCTION public.moderate(verb text, report uuid, output text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.my_restrictions() FROM PUBLIC;
GRANT ALL ON FUNCTION public.my_restrictions() TO authenticated;
GRANT ALL ON FUNCTION public.my_restrictions() TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.queue_job(job_type text, prompt text, negative_prompt text, config jsonb, metadata jsonb, project_id uuid, video_id uuid, image_id uuid, character_id uuid, idempotency_key text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.queue_job(job_type text, prompt text, negative_prompt text, config jsonb, metadata jsonb, project_id uuid, video_id uuid, image_id uuid, character_id uuid, idempotency_key text, dry_run boolean) TO authenticated;
GRANT ALL ON FUNCTION public.queue_job(job_type text, prompt text, negative_prompt text, config jsonb, metadata jsonb, project_id uuid, video_id uuid, image_id uuid, character_id uuid, idempotency_key text, dry_run boolean) TO service_role;
GRANT ALL ON FUNCTION public.queue_job(job_type text, prompt text, negative_prompt text, config jsonb, metadata jsonb, project_id uuid, video_id uuid, image_id uuid, character_id uuid, idempotency_key text, dry_run boolean) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.read_prompt(job_id uuid, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.read_prompt(job_id uuid, reason text) TO service_role;
GRANT ALL ON FUNCTION public.read_prompt(job_id uuid, reason text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.report_queue(closed boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.report_queue(closed boolean) TO service_role;
GRANT ALL ON FUNCTION public.report_queue(closed boolean) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.report_refusal(category text, policy_version text, rule_id text, digest text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.report_refusal(category text, policy_version text, rule_id text, digest text) TO authenticated;
GRANT ALL ON FUNCTION public.report_refusal(category text, policy_version text, rule_id text, digest text) TO service_role;
GRANT ALL ON FUNCTION public.report_refusal(category text, policy_version text, rule_id text, digest text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.request_age_review() FROM PUBLIC;
GRANT ALL ON FUNCTION public.request_age_review() TO authenticated;
GRANT ALL ON FUNCTION public.request_age_review() TO service_role;
GRANT ALL ON FUNCTION public.request_age_review() TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.request_bytes() FROM PUBLIC;
GRANT ALL ON FUNCTION public.request_bytes() TO anon;
GRANT ALL ON FUNCTION public.request_bytes() TO authenticated;
GRANT ALL ON FUNCTION public.request_bytes() TO service_role;
GRANT ALL ON FUNCTION public.request_bytes() TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.retry_job(job_id uuid, version integer, charge boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.retry_job(job_id uuid, version integer, charge boolean) TO authenticated;
GRANT ALL ON FUNCTION public.retry_job(job_id uuid, version integer, charge boolean) TO service_role;
GRANT ALL ON FUNCTION public.retry_job(job_id uuid, version integer, charge boolean) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.verify_age(user_id uuid, verified boolean, how text, until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.verify_age(user_id uuid, verified boolean, how text, until timestamp with time zone) TO service_role;
GRANT ALL ON FUNCTION public.verify_age(user_id uuid, verified boolean, how text, until timestamp with time zone) TO ourvidz_admin;

REVOKE ALL ON FUNCTION public.withdraw_consent(sha256 text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.withdraw_consent(sha256 text) TO authenticated;
GRANT ALL ON FUNCTION public.withdraw_consent(sha256 text) TO service_role;
GRANT ALL ON FUNCTION public.withdraw_consent(sha256 text) TO ourvidz_admin;

REVOKE ALL ON FUNCTION ourvidz.fold(public.job_events) FROM PUBLIC;

GRANT SELECT ON TABLE ourvidz.alembic_version TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.alembic_version TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.alembic_version TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.alembic_version TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.catalog_states TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.catalog_states TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.catalog_states TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.catalog_states TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.column_kinds TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.column_kinds TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.column_kinds TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.column_kinds TO ourvidz_analyst;

GRANT SELECT(id) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(id) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(name) ON TABLE ourvidz.executors TO ourvidz_executor;

GRANT SELECT(host) ON TABLE ourvidz.executors TO ourvidz_executor;

GRANT SELECT(pid) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(pid) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(lanes) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(lanes) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(resident) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(resident) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(state) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(state) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(waiting) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(waiting) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(lane) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(lane) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(lane_since) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(lane_since) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(started_at) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(started_at) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(beat_at) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(beat_at) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(lease_until) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(lease_until) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(info) ON TABLE ourvidz.executors TO ourvidz_executor;

GRANT SELECT(reference_pictures) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(reference_pictures) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT(called) ON TABLE ourvidz.executors TO ourvidz_executor;
GRANT SELECT(called) ON TABLE ourvidz.executors TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.fleet TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.fleet TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.intake_counts TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.intake_counts TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.intake_counts TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.intake_messages TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.intake_messages TO ourvidz_executor;

GRANT SELECT(seq) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT(at) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT(queue) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT(outcome) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT(message_id) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT(reason) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT(field) ON TABLE ourvidz.intake_messages TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.policy TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.policy TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.policy TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.policy TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.receivers TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.receivers TO ourvidz_executor;

GRANT SELECT(name) ON TABLE ourvidz.receivers TO ourvidz_analyst;

GRANT SELECT(events) ON TABLE ourvidz.receivers TO ourvidz_analyst;

GRANT SELECT(enabled) ON TABLE ourvidz.receivers TO ourvidz_analyst;

GRANT SELECT(exhausted) ON TABLE ourvidz.receivers TO ourvidz_analyst;

GRANT SELECT(disabled_at) ON TABLE ourvidz.receivers TO ourvidz_analyst;

GRANT SELECT ON TABLE ourvidz.removals TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.removals TO ourvidz_executor;

GRANT SELECT ON TABLE ourvidz.schema_objects TO ourvidz_intake;
GRANT SELECT ON TABLE ourvidz.schema_objects TO ourvidz_deliverer;
GRANT SELECT ON TABLE ourvidz.schema_objects TO ourvidz_executor;
GRANT SELECT ON TABLE ourvidz.schema_objects TO ourvidz_analyst;

GRANT SELECT,DELETE ON TABLE public.characters TO authenticated;
GRANT SELECT ON TABLE public.characters TO service_role;
GRANT SELECT,DELETE ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(user_id) ON TABLE public.characters TO authenticated;
GRANT INSERT(user_id) ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(name),UPDATE(name) ON TABLE public.characters TO authenticated;
GRANT INSERT(name),UPDATE(name) ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(description),UPDATE(description) ON TABLE public.characters TO authenticated;
GRANT INSERT(description),UPDATE(description) ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(traits),UPDATE(traits) ON TABLE public.characters TO authenticated;
GRANT INSERT(traits),UPDATE(traits) ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(appearance_tags),UPDATE(appearance_tags) ON TABLE public.characters TO authenticated;
GRANT INSERT(appearance_tags),UPDATE(appearance_tags) ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(image_url),UPDATE(image_url) ON TABLE public.characters TO authenticated;
GRANT INSERT(image_url),UPDATE(image_url) ON TABLE public.characters TO ourvidz_admin;

GRANT INSERT(reference_image_url),UPDATE(reference_image_url) ON TABLE public.characters TO authenticated;
GRANT INSERT(reference_image_url),UPDATE(reference_image_url) ON TABLE public.characters TO ourvidz_admin;

GRANT SELECT,DELETE ON TABLE public.images TO authenticated;
GRANT SELECT,DELETE ON TABLE public.images TO service_role;
GRANT SELECT,DELETE ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(user_id) ON TABLE public.images TO authenticated;
GRANT INSERT(user_id) ON TABLE public.images TO service_role;
GRANT INSERT(user_id) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(project_id) ON TABLE public.images TO authenticated;
GRANT INSERT(project_id) ON TABLE public.images TO service_role;
GRANT INSERT(project_id) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(job_id) ON TABLE public.images TO authenticated;
GRANT INSERT(job_id) ON TABLE public.images TO service_role;
GRANT INSERT(job_id) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(image_index) ON TABLE public.images TO authenticated;
GRANT INSERT(image_index) ON TABLE public.images TO service_role;
GRANT INSERT(image_index) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(title) ON TABLE public.images TO authenticated;
GRANT INSERT(title),UPDATE(title) ON TABLE public.images TO service_role;
GRANT INSERT(title) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(prompt) ON TABLE public.images TO authenticated;
GRANT INSERT(prompt) ON TABLE public.images TO service_role;
GRANT INSERT(prompt) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(enhanced_prompt) ON TABLE public.images TO authenticated;
GRANT INSERT(enhanced_prompt) ON TABLE public.images TO service_role;
GRANT INSERT(enhanced_prompt) ON TABLE public.images TO ourvidz_admin;

GRANT UPDATE(image_url) ON TABLE public.images TO service_role;

GRANT UPDATE(thumbnail_url) ON TABLE public.images TO service_role;

GRANT INSERT(generation_mode) ON TABLE public.images TO authenticated;
GRANT INSERT(generation_mode) ON TABLE public.images TO service_role;
GRANT INSERT(generation_mode) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(status) ON TABLE public.images TO authenticated;
GRANT INSERT(status),UPDATE(status) ON TABLE public.images TO service_role;
GRANT INSERT(status) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(metadata) ON TABLE public.images TO authenticated;
GRANT INSERT(metadata),UPDATE(metadata) ON TABLE public.images TO service_role;
GRANT INSERT(metadata) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(format) ON TABLE public.images TO authenticated;
GRANT INSERT(format) ON TABLE public.images TO service_role;
GRANT INSERT(format) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(quality) ON TABLE public.images TO authenticated;
GRANT INSERT(quality) ON TABLE public.images TO service_role;
GRANT INSERT(quality) ON TABLE public.images TO ourvidz_admin;

GRANT INSERT(prompt_test_id) ON TABLE public.images TO authenticated;
GRANT INSERT(prompt_test_id) ON TABLE public.images TO service_role;
GRANT INSERT(prompt_test_id) ON TABLE public.images TO ourvidz_admin;

GRANT UPDATE(moderation_status) ON TABLE public.images TO ourvidz_admin;

GRANT UPDATE(reviewed_at) ON TABLE public.images TO ourvidz_admin;

GRANT UPDATE(reviewed_by) ON TABLE public.images TO ourvidz_admin;

GRANT UPDATE(review_notes) ON TABLE public.images TO ourvidz_admin;

GRANT UPDATE(updated_at) ON TABLE public.images TO service_role;

GRANT SELECT ON TABLE public.job_durations TO ourvidz_analyst;
GRANT SELECT ON TABLE public.job_durations TO authenticated;
GRANT SELECT ON TABLE public.job_durations TO ourvidz_admin;

GRANT SELECT ON TABLE public.job_timeline TO ourvidz_analyst;
GRANT SELECT ON TABLE public.job_timeline TO authenticated;
GRANT SELECT ON TABLE public.job_timeline TO ourvidz_admin;

GRANT SELECT ON TABLE public.model_test_results TO service_role;
GRANT SELECT ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(user_id) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(model_type) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(model_version) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(prompt_text) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(success) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(success),UPDATE(success) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(overall_quality) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(overall_quality),UPDATE(overall_quality) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(technical_quality) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(technical_quality),UPDATE(technical_quality) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(content_quality) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(content_quality),UPDATE(content_quality) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(consistency) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(consistency),UPDATE(consistency) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(test_series) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(test_tier) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT INSERT(test_category) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(test_metadata) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(test_metadata),UPDATE(test_metadata) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(job_id) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(job_id),UPDATE(job_id) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(image_id) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(image_id),UPDATE(image_id) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(video_id) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(video_id),UPDATE(video_id) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT UPDATE(notes) ON TABLE public.model_test_results TO service_role;
GRANT INSERT(notes),UPDATE(notes) ON TABLE public.model_test_results TO ourvidz_admin;

GRANT SELECT ON TABLE public.profiles TO authenticated;
GRANT SELECT ON TABLE public.profiles TO service_role;
GRANT SELECT ON TABLE public.profiles TO ourvidz_admin;

GRANT INSERT(id) ON TABLE public.profiles TO authenticated;

GRANT UPDATE(last_login) ON TABLE public.profiles TO authenticated;

GRANT SELECT,DELETE ON TABLE public.projects TO authenticated;
GRANT SELECT ON TABLE public.projects TO service_role;
GRANT SELECT,DELETE ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(user_id) ON TABLE public.projects TO authenticated;
GRANT INSERT(user_id) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(title),UPDATE(title) ON TABLE public.projects TO authenticated;
GRANT INSERT(title),UPDATE(title) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(original_prompt),UPDATE(original_prompt) ON TABLE public.projects TO authenticated;
GRANT INSERT(original_prompt),UPDATE(original_prompt) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(enhanced_prompt),UPDATE(enhanced_prompt) ON TABLE public.projects TO authenticated;
GRANT INSERT(enhanced_prompt),UPDATE(enhanced_prompt) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(media_type),UPDATE(media_type) ON TABLE public.projects TO authenticated;
GRANT INSERT(media_type),UPDATE(media_type) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(duration),UPDATE(duration) ON TABLE public.projects TO authenticated;
GRANT INSERT(duration),UPDATE(duration) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(target_duration),UPDATE(target_duration) ON TABLE public.projects TO authenticated;
GRANT INSERT(target_duration),UPDATE(target_duration) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(scene_count),UPDATE(scene_count) ON TABLE public.projects TO authenticated;
GRANT INSERT(scene_count),UPDATE(scene_count) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(workflow_step),UPDATE(workflow_step) ON TABLE public.projects TO authenticated;
GRANT INSERT(workflow_step),UPDATE(workflow_step) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(character_id),UPDATE(character_id) ON TABLE public.projects TO authenticated;
GRANT INSERT(character_id),UPDATE(character_id) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(preview_url),UPDATE(preview_url) ON TABLE public.projects TO authenticated;
GRANT INSERT(preview_url),UPDATE(preview_url) ON TABLE public.projects TO ourvidz_admin;

GRANT INSERT(reference_image_url),UPDATE(reference_image_url) ON TABLE public.projects TO authenticated;
GRANT INSERT(reference_image_url),UPDATE(reference_image_url) ON TABLE public.projects TO ourvidz_admin;

GRANT SELECT ON TABLE public.queue_depth TO ourvidz_analyst;
GRANT SELECT ON TABLE public.queue_depth TO ourvidz_executor;

GRANT SELECT,DELETE ON TABLE public.scenes TO authenticated;
GRANT SELECT ON TABLE public.scenes TO service_role;
GRANT SELECT,DELETE ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(project_id) ON TABLE public.scenes TO authenticated;
GRANT INSERT(project_id) ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(scene_number),UPDATE(scene_number) ON TABLE public.scenes TO authenticated;
GRANT INSERT(scene_number),UPDATE(scene_number) ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(description),UPDATE(description) ON TABLE public.scenes TO authenticated;
GRANT INSERT(description),UPDATE(description) ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(enhanced_prompt),UPDATE(enhanced_prompt) ON TABLE public.scenes TO authenticated;
GRANT INSERT(enhanced_prompt),UPDATE(enhanced_prompt) ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(image_url),UPDATE(image_url) ON TABLE public.scenes TO authenticated;
GRANT INSERT(image_url),UPDATE(image_url) ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(approved),UPDATE(approved) ON TABLE public.scenes TO authenticated;
GRANT INSERT(approved),UPDATE(approved) ON TABLE public.scenes TO ourvidz_admin;

GRANT INSERT(final_stitched_url),UPDATE(final_stitched_url) ON TABLE public.scenes TO authenticated;
GRANT INSERT(final_stitched_url),UPDATE(final_stitched_url) ON TABLE public.scenes TO ourvidz_admin;

GRANT SELECT ON TABLE public.system_config TO service_role;
GRANT SELECT ON TABLE public.system_config TO ourvidz_admin;

GRANT INSERT(id),UPDATE(id) ON TABLE public.system_config TO ourvidz_admin;

GRANT INSERT(config),UPDATE(config) ON TABLE public.system_config TO ourvidz_admin;

GRANT INSERT(updated_at),UPDATE(updated_at) ON TABLE public.system_config TO ourvidz_admin;

GRANT SELECT ON TABLE public.usage_logs TO authenticated;
GRANT SELECT ON TABLE public.usage_logs TO service_role;
GRANT SELECT ON TABLE public.usage_logs TO ourvidz_admin;

GRANT INSERT(user_id) ON TABLE public.usage_logs TO authenticated;
GRANT INSERT(user_id) ON TABLE public.usage_logs TO service_role;
GRANT INSERT(user_id) ON TABLE public.usage_logs TO ourvidz_admin;

GRANT INSERT(action) ON TABLE public.usage_logs TO authenticated;
GRANT INSERT(action) ON TABLE public.usage_logs TO service_role;
GRANT INSERT(action) ON TABLE public.usage_logs TO ourvidz_admin;

GRANT INSERT(credits_consumed) ON TABLE public.usage_logs TO authenticated;
GRANT INSERT(credits_consumed) ON TABLE public.usage_logs TO service_role;
GRANT INSERT(credits_consumed) ON TABLE public.usage_logs TO ourvidz_admin;

GRANT INSERT(metadata) ON TABLE public.usage_logs TO authenticated;
GRANT INSERT(metadata) ON TABLE public.usage_logs TO service_role;
GRANT INSERT(metadata) ON TABLE public.usage_logs TO ourvidz_admin;

GRANT INSERT(format) ON TABLE public.usage_logs TO authenticated;
GRANT INSERT(format) ON TABLE public.usage_logs TO service_role;
GRANT INSERT(format) ON TABLE public.usage_logs TO ourvidz_admin;

GRANT INSERT(quality) ON TABLE public.usage_logs TO authenticated;
GRANT INSERT(quality) ON TABLE public.usage_logs TO service_role;
GRANT INSERT(quality) ON TABLE public.usage_logs TO ourvidz_admin;

GRANT SELECT ON TABLE public.user_activity_log TO authenticated;
GRANT SELECT ON TABLE public.user_activity_log TO service_role;
GRANT SELECT ON TABLE public.user_activity_log TO ourvidz_admin;

GRANT SELECT ON TABLE public.user_roles TO authenticated;
GRANT SELECT ON TABLE public.user_roles TO service_role;
GRANT SELECT ON TABLE public.user_roles TO ourvidz_admin;

GRANT SELECT ON TABLE storage.buckets TO anon;
GRANT SELECT ON TABLE storage.buckets TO authenticated;
GRANT SELECT ON TABLE storage.buckets TO service_role;
GRANT SELECT ON TABLE storage.buckets TO ourvidz_admin;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE storage.objects TO anon;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE storage.objects TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE storage.objects TO service_role;
GRANT SELECT ON TABLE storage.objects TO ourvidz_admin;
