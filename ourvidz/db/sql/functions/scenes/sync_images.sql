-- Updates the rows of public.images that name these jobs to what the jobs' events say. Called with the jobs' locks held.
--
-- A row that somebody else has locked is skipped, never waited for: they hold the row and want its job (images_removed, images_changed), we
-- hold the job and want the row. A changer comes here itself once it has the job; a deleter leaves nothing to show. In no order, since
-- nobody is waited for: for an order all rows might be read by the index on ids.
create or replace function ourvidz.sync_images(p_jobs uuid[]) returns void
language plpgsql
as $$
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
