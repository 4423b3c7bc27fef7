-- Messages to deliver.
create or replace function ourvidz.outbox_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
end
$$;
