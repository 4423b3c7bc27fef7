-- Tokens held, captured and released.
create or replace function ourvidz.ledger_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
end
$$;
