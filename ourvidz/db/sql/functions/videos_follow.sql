-- Scenes and their urls.
create or replace function ourvidz.videos_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
end
$$;
