-- The usage report.
create or replace function ourvidz.usage_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
end
$$;
