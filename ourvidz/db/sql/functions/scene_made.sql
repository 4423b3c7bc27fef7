-- Puts what a completed job made into its scene. Internal; called by videos_follow.
create or replace function ourvidz.scene_made(p_video uuid, p_job uuid, p_final boolean) returns void
language sql
as $$
  update public.videos as v
  set preview_url = case when p_final then v.preview_url else made.address end,
      video_url = case when p_final then made.address else v.video_url end,
      thumbnail_url = coalesce(small.address, v.thumbnail_url),
      duration = case when p_final then made.seconds else v.duration end,
      resolution = made.resolution
  from (select a.bucket || '/' || a.path as address, a.width || 'x' || a.height as resolution,
               round(a.frames / (p.settings->>'fps')::numeric, 4) as seconds
        from public.artifacts as a left join public.job_payloads as p on p.job_id = a.job_id
        where a.job_id = p_job and a.kind = case when p_final then 'video' else 'image' end order by a.index limit 1) as made
  left join (select a.bucket || '/' || a.path as address from public.artifacts as a
             where a.job_id = p_job and a.kind = 'thumbnail' order by a.index limit 1) as small on true
  where v.id = p_video
$$;
