-- Handles each row of a plain INSERT into jobs, as the legacy system's edge function sends it (docs/decisions/0020): runs the same checks
-- as for any job, and returns the row that its `submitted` event will create. jobs_asked writes the event afterwards. Both go through
-- `answer`, so that PostgREST is told why.
create or replace function ourvidz.jobs_ask() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set extra_float_digits = 1  -- the row goes through JSON, and its rank must come out as its event tells it
as $$ begin return jsonb_populate_record(new, ourvidz.rpc('plain_row', to_jsonb(new))); end $$;

create or replace function ourvidz.jobs_asked() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ begin perform ourvidz.rpc('plain_events', (select jsonb_agg(id) from after_rows)); return null; end $$;

create or replace function ourvidz.api_plain_row(p jsonb) returns jsonb
language plpgsql
as $$
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
