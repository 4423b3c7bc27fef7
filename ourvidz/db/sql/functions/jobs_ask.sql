-- Before each row of a plain INSERT into jobs, as the older system's edge function sends it (docs/decisions/0020): the same checks as for
-- any job, and then the very row that its `submitted` event will tell. The event follows in jobs_asked.
create or replace function ourvidz.jobs_ask() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_salt constant bytea := ourvidz.salt();
  v_given constant public.jobs := new;
  v_me record;
  v_asked ourvidz.asked_job[];
begin
  perform ourvidz.check_given(new);
  select * into v_me from ourvidz.caller();
  if v_me.role <> 'service_role' and new.user_id is distinct from v_me.user_id then
    raise exception 'A job can be asked for in one''s own name only.' using errcode = 'OV017', column = 'user_id';
  elsif v_me.role is not null then
    perform ourvidz.check_pace(new.user_id);
  end if;
  v_asked := ourvidz.read_asked(jsonb_build_array(ourvidz.check_owned(jsonb_build_object(
    'user_id', new.user_id, 'job_type', new.job_type, 'negative_prompt', new.metadata->'negative_prompt', 'metadata', new.metadata,
    'project_id', new.project_id, 'video_id', new.video_id, 'image_id', new.image_id))));
  perform ourvidz.check_asked(v_asked);

  select born.* into new
  from unnest(v_asked) as a
  cross join lateral ourvidz.next_rank(a.user_id, a.lane, 1) as entry
  cross join lateral ourvidz.first_event(a, entry.start + ourvidz.head_start(a.priority), v_salt, v_now, 'person') as e
  cross join lateral ourvidz.evolve(null::public.jobs, e) as born;
  -- Before the job it belongs to: the foreign key is looked at when the transaction ends.
  perform ourvidz.keep_words(v_asked, array[v_salt]);
  new.format := v_given.format;
  new.quality := v_given.quality;
  new.model_type := v_given.model_type;
  new.metadata := coalesce(v_given.metadata, '{}');
  return new;
end
$$;

-- After a plain INSERT: the events that its rows were made from, and those who sleep are woken.
create or replace function ourvidz.jobs_asked() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz
as $$
begin
  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select e.submitted_on, e.job_id, e.version, e.type, e.to_status, e.actor, e.occurred_at, e.data, e.prev_hash, e.hash
  from after_rows as n
  join public.job_payloads as p on p.job_id = n.id
  cross join lateral ourvidz.first_event(
    row(1, n.id, n.user_id, n.job_type, n.lane, null, n.priority, n.run_at, null, null, p.settings, null,
        n.project_id, n.video_id, n.image_id, p.body_digest)::ourvidz.asked_job, n.rank, p.salt, n.created_at, 'person') as e;
  perform ourvidz.wake(lane, jobs) from (select lane, count(*) as jobs from after_rows group by lane) as lanes;
  return null;
end
$$;
