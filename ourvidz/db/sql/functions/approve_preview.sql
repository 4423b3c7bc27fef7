-- The preview of a scene is approved: its final video is queued, beginning with that very picture, with the same prompt. Approved twice is
-- approved once. While the final is under way or done, another choice is refused; a new preview starts the scene over.
-- `index`: which picture, where the preview made several. `config`: as a message has it, but for the pictures.
create or replace function public.approve_preview(
  video_id uuid, job_type text default 'video_high', config jsonb default '{}', idempotency_key text default null, index integer default 0
) returns jsonb
language plpgsql security definer set search_path = pg_catalog, ourvidz
as $$
#variable_conflict use_column
declare
  v_choice jsonb;
  v_scene public.videos := ourvidz.lock_scene(approve_preview.video_id);
  v_final public.jobs;
  v_job uuid;
  v_created boolean := false;
begin
  v_choice := jsonb_build_object('preview', v_scene.preview_job_id, 'index', coalesce(approve_preview.index, 0),
                                 'job_type', approve_preview.job_type, 'config', coalesce(approve_preview.config, '{}'));
  select * into v_final from public.jobs as j where j.id = v_scene.video_job_id;
  if v_scene.approved_at is not null and v_final.status not in ('failed', 'cancelled') then
    if (select p.metadata->'approved' is distinct from v_choice from public.job_payloads as p where p.job_id = v_final.id) then
      raise exception 'The preview of scene % was approved before, with another choice: job % makes its final video.', v_scene.id, v_final.id
        using errcode = 'OV001', hint = 'Cancel that job first, or make a new preview.';
    end if;
    v_job := v_final.id;
  else
    select s.job_id, s.created into v_job, v_created
    from ourvidz.submit_batch(jsonb_build_array(jsonb_strip_nulls(
           ourvidz.final_of(v_scene, v_choice) || jsonb_build_object('idempotency_key', approve_preview.idempotency_key)))) as s;
    update public.videos as v set approved_at = ourvidz.now()
    where v.id = v_scene.id and v_created and v.preview_job_id = v_scene.preview_job_id;
  end if;
  return (select jsonb_build_object('job_id', j.id, 'created', v_created, 'status', j.status, 'job_type', j.job_type, 'video_id', v.id,
                                    'approved_at', v.approved_at)
          from public.jobs as j join public.videos as v on v.id = v_scene.id where j.id = v_job);
end
$$;
