-- Functions with which tests/db/many_rows.py makes rows, in each database where statements of many rows are tested.
create schema sizes;
create table sizes.seeds (name text primary key, id uuid);
create table sizes.made (n integer primary key, id uuid unique, user_id uuid, other uuid, claim_no bigint, token uuid);
create table sizes.users (n integer primary key, id uuid);
create function sizes.one_of(n integer, p_of integer default 50) returns uuid language sql stable as $$
  select id from sizes.users where users.n = $1 % p_of + 1 $$;
create function sizes.like(p_name text) returns uuid language sql stable as $$ select id from sizes.seeds where name = p_name $$;
create function sizes.jobs_of_made() returns uuid[] language sql stable as $$ select array_agg(id order by n) from sizes.made $$;
create schema realtime;
create function realtime.send(jsonb, text, text, boolean) returns void language sql as $$ select $$;
grant usage on schema realtime to public;

-- Copies rows of a table, with other values in some columns. p_of: a condition; p_with: column → SQL over m (sizes.made).
create function sizes.again(p_table text, p_of text, p_with jsonb) returns void language plpgsql as $$
begin
  execute (
    select format('insert into %1$s (%2$s) select %3$s from %1$s as t cross join sizes.made as m where %4$s', p_table,
                  string_agg(quote_ident(attname), ', ' order by attnum),
                  string_agg(coalesce(p_with->>attname, 't.' || quote_ident(attname)), ', ' order by attnum), p_of)
    from pg_attribute where attrelid = p_table::regclass and attnum > 0 and not attisdropped and attidentity = '');
end
$$;

-- Makes N copies of a job that real functions brought into its state, for 50 users or for one.
create function sizes.jobs(p_like text, p_n integer, p_of integer default 50) returns void language plpgsql as $$
declare
  v_job constant uuid := sizes.like(p_like);
  v_is constant text := format('t.job_id = %L', v_job);
begin
  perform sizes.ids(p_n, p_of);
  perform sizes.again('public.videos', format('t.video_job_id = %L', v_job),
    '{"id": "m.other", "user_id": "m.user_id", "video_job_id": "m.id", "current_job_id": "m.id"}');
  perform sizes.again('public.jobs', format('t.id = %L', v_job), '{"id": "m.id", "user_id": "m.user_id", "rank": "m.n * 0.1",
    "video_id": "case when t.video_id is not null then m.other end"}');
  perform sizes.again('public.job_payloads', v_is, '{"job_id": "m.id", "user_id": "m.user_id", "idempotency_key": "m.id::text"}');
  perform sizes.again('public.job_events', v_is, '{"job_id": "m.id"}');
  perform sizes.again('ourvidz.token_entries', v_is, '{"job_id": "m.id", "user_id": "m.user_id"}');
  perform sizes.again('public.artifacts', v_is, '{"job_id": "m.id", "path": "m.user_id || ''/'' || m.id || ''/'' || t.kind || t.index"}');
  perform sizes.again('public.images', v_is, '{"job_id": "m.id", "user_id": "m.user_id", "id": "m.other", "image_url":
    "m.user_id || ''/'' || m.id || ''/image0''", "thumbnail_url": "null"}');
  perform sizes.again('public.model_test_results', v_is, '{"job_id": "m.id", "user_id": "m.user_id", "id": "gen_random_uuid()"}');
  update sizes.made as m set claim_no = j.claim_no, token = ourvidz.claim_token(e.secret, j.id, j.claim_no)
  from public.jobs as j join ourvidz.executors as e on e.id = j.executor_id where j.id = m.id;
end
$$;

create function sizes.people(p_n integer) returns void language plpgsql as $$
begin
  perform sizes.ids(p_n);
  perform sizes.again('public.profiles', format('t.id = %L', sizes.one_of(0)),
    '{"id": "m.id", "email": "m.n || ''@example.org''", "username": "left(m.id::text, 30)"}');
end
$$;

-- Makes only ids. By default for 5,000 users, since some tables bound the rows of an owner.
create function sizes.ids(p_n integer, p_of integer default 5000) returns void language plpgsql as $$
begin
  delete from sizes.made;
  insert into sizes.made (n, id, user_id, other)
  select n, gen_random_uuid(), sizes.one_of(n, p_of), gen_random_uuid() from generate_series(1, p_n) as n;
end
$$;
