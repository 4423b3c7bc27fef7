-- Functions that this program no longer lays and that an earlier one did.
drop function if exists ourvidz.pick(text, integer, text, timestamptz);
drop function if exists ourvidz.lane_order(ourvidz.executors, text[], text[], timestamptz);
drop function if exists ourvidz.lapse(public.jobs, text);
