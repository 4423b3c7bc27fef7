-- Keeps scenes as their jobs' events say (state/scenes.py). The only writer of their status, urls, duration and resolution. A scene knows its
-- newest preview and its newest final, each by its id: a job becomes that when it is submitted, and from then on no event of an older one
-- changes anything. Its status is that of the job that began last.
create or replace function ourvidz.videos_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
declare
  v_step record;
begin
  for v_step in
    select j.video_id, j.user_id, e.job_id, e.type, s.status, coalesce(s.begins, false) as begins, stage.final,
           -- A job of the older system is the newest one unless we know a newer: those come in any order.
           e.type = 'imported' and not exists (
             select from public.videos as v join public.jobs as known
               on known.id = case when stage.final then v.video_job_id else v.preview_job_id end
             where v.id = j.video_id and known.created_at > j.created_at) as imported
    from unnest(p_events) as e
    join public.jobs as j on j.id = e.job_id and j.video_id is not null
    join ourvidz.job_types as kind on kind.name = j.job_type
    cross join lateral (select kind.video as final) as stage
    left join ourvidz.scene_steps as s
      on s.stage = case when stage.final then 'final' else 'preview' end
     and s.event = case when e.type = 'imported' and e.to_status = 'queued' then 'submitted' else e.type end
    where s.event is not null or e.type = 'imported'
    order by j.video_id, e.occurred_at, e.job_id  -- everybody locks scenes in one order
  loop
    update public.videos as v
    set preview_job_id = case when v_step.final then v.preview_job_id else v_step.job_id end,
        video_job_id = case when v_step.final then v_step.job_id else v.video_job_id end,
        current_job_id = case when v_step.begins then v_step.job_id else v.current_job_id end,
        status = case when v_step.begins or v.current_job_id = v_step.job_id then coalesce(v_step.status, v.status) else v.status end,
        approved_at = case when v_step.begins and not v_step.final then null else v.approved_at end
    where v.id = v_step.video_id and v.user_id = v_step.user_id
      and (v_step.type = 'submitted' or v_step.imported
           or v_step.job_id = case when v_step.final then v.video_job_id else v.preview_job_id end);
    if found and v_step.type = 'completed' then
      perform ourvidz.scene_made(v_step.video_id, v_step.job_id, v_step.final);
    end if;
  end loop;
end
$$;
