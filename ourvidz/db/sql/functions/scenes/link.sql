-- Links a job to its picture's or video's row, once: the same row again changes nothing, another is refused. Returns whether it linked.
create or replace function ourvidz.link(p_job uuid, p_image uuid, p_video uuid, p_actor text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
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
