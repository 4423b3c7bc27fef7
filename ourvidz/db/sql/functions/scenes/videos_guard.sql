-- Refuses writes to columns of scenes that follow their jobs' events. Functions of ours run as their owner, which nobody can become.
create or replace function ourvidz.videos_guard() returns trigger
language plpgsql
as $$
begin
  if current_user <> 'ourvidz_owner' then
    raise exception 'Scene %: its status, urls, jobs, duration and resolution follow its jobs'' events.', new.id
      using errcode = 'OV004', hint = 'Queue a job with this video_id, or call approve_preview.';
  end if;
  return new;
end
$$;
