-- Checks the row that a front end inserts for a picture after queueing its job, to wait for an UPDATE to 'completed'. Removes what it may
-- not say about the job, and locks the job so that it cannot end before the row is committed.
create or replace function ourvidz.images_check_insert() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ begin return jsonb_populate_record(new, ourvidz.rpc('image_row', to_jsonb(new))); end $$;

create or replace function ourvidz.api_image_row(p jsonb) returns jsonb
language plpgsql
as $$
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

-- After an insert or update: makes the row show what its job's events say. Waits for the job's lock, so an end in progress is seen.
create or replace function ourvidz.images_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  perform from public.jobs where id = new.job_id for share;
  if found then
    perform ourvidz.sync_images(array[new.job_id]);
  end if;
  return null;
end
$$;
