-- Refuses a plain INSERT that sets more than a client may: columns that come from events are not accepted.
create or replace function ourvidz.check_insert_columns(n public.jobs) returns void
language plpgsql stable
as $$
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
