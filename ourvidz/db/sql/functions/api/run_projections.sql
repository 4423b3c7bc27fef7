-- Applies what follows from events that begin or end jobs, in their own transaction: tokens, the owner's library, the usage report, outbox
-- messages, screens' refusals. Each of the five is the only writer of its data. Called by events_apply, once per statement.
create or replace function ourvidz.run_projections(p_events public.job_events[]) returns void
language plpgsql
as $$
begin
  perform ourvidz.ledger_follow(p_events);
  perform ourvidz.library_follow(p_events);
  perform ourvidz.usage_follow(p_events);
  perform ourvidz.outbox_follow(p_events);
  perform ourvidz.screenings_follow(p_events);
end
$$;
